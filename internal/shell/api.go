package shell

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// APIError is an answer that says no: a code of package contracts and one
// clear sentence.
type APIError struct {
	Code    string
	Message string
	// kept is what may be stored of the message, which quotes requests.
	kept error
	// cause is why there is no answer of the service itself.
	cause error
}

// Unwrap returns nats.ErrNoResponders where no service was there to answer.
func (e *APIError) Unwrap() error { return e.cause }

func (e *APIError) Error() string { return e.Message }

// Errorf makes an APIError.
func Errorf(code, format string, args ...any) *APIError {
	return &APIError{Code: code, Message: fmt.Sprintf(format, args...)}
}

// API is a service's set of endpoints, listed by `nats micro ls`. Requests that
// cannot be understood are refused, counted and reported: those without an inbox
// to answer to, those that are too large or not the JSON expected, and those that
// a handler refuses with CodeBadRequest.
type API struct {
	env     Env
	svc     micro.Service
	ctx     context.Context
	rejects *Rejects

	mu      sync.Mutex
	stopped bool
	inHand  sync.WaitGroup
}

// NewAPI opens the micro service smith-<service>. Requests get a context that
// ends with ctx. Stop it before the connection closes.
func NewAPI(ctx context.Context, env Env, description string, metadata map[string]string, change ...func(*micro.Config)) (*API, error) {
	meta := map[string]string{"instance": env.Instance}
	for k, v := range metadata {
		meta[k] = v
	}
	config := micro.Config{
		Name: "smith-" + env.Service, Version: Version, Description: description, Metadata: meta,
		ErrorHandler: func(_ micro.Service, e *micro.NATSError) {
			env.Log.Warn("api", "subject", e.Subject, "error", e.Description)
		},
	}
	for _, f := range change {
		f(&config)
	}
	svc, err := micro.AddService(env.NC, config)
	if err != nil {
		return nil, fmt.Errorf("serve the API of %s: %w", env.Service, err)
	}
	return &API{env: env, svc: svc, ctx: ctx, rejects: NewRejects(env)}, nil
}

// Everyone makes every instance get every request, for services of which one at
// most answers: one that stands still and does not know yet that it was replaced
// then takes no request away from its successor.
func Everyone(c *micro.Config) { c.QueueGroupDisabled = true }

// Stop ends all endpoints and waits until the requests in hand, but for those of
// HandleRaw, are answered, or ctx ends. A request that waits for what may never
// come does so until the context of NewAPI ends.
func (a *API) Stop(ctx context.Context) error {
	err := a.svc.Stop()
	a.mu.Lock()
	a.stopped = true
	a.mu.Unlock()
	answered := make(chan struct{})
	go func() {
		a.inHand.Wait()
		close(answered)
	}()
	select {
	case <-answered:
		return err
	case <-ctx.Done():
		return errors.Join(err, fmt.Errorf("requests still in hand: %w", ctx.Err()))
	}
}

// begin takes a request in hand, unless the API has stopped.
func (a *API) begin() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.stopped {
		a.inHand.Add(1)
	}
	return !a.stopped
}

// RequestTimeout bounds the work on one request.
const RequestTimeout = 30 * time.Second

// Handle serves smith.<service>.<verb>: JSON in, JSON out. Each request has its
// own goroutine, of which at most 64 run at once for a verb; more are refused.
// An *APIError becomes the answer's error headers, any other error code 500.
func Handle[Req, Resp any](a *API, verb string, serve func(ctx context.Context, req Req) (Resp, error)) error {
	return HandleOn(a, verb, contracts.ServiceSubject(a.env.Service, verb), serve)
}

// HandleOn is Handle for a subject of one's own choice.
func HandleOn[Req, Resp any](a *API, name, subject string, serve func(ctx context.Context, req Req) (Resp, error)) error {
	slots := make(chan struct{}, 64)
	handler := func(r micro.Request) {
		if !a.answerable(r) {
			return
		}
		select {
		case slots <- struct{}{}:
		default:
			refuse(a, r, Errorf(contracts.CodeNotReady, "%s: too many requests at once; try again", r.Subject()))
			return
		}
		if !a.begin() {
			<-slots
			refuse(a, r, Errorf(contracts.CodeNotReady, "%s: the service ends; try again", r.Subject()))
			return
		}
		go func() {
			defer a.inHand.Done()
			defer func() { <-slots }()
			answer(a, r, serve)
		}()
	}
	// Other than the default queue group, none: names of runners differ, and
	// the services' instances share the default.
	if err := a.svc.AddEndpoint(name, micro.HandlerFunc(handler), micro.WithEndpointSubject(subject)); err != nil {
		return fmt.Errorf("serve %s: %w", subject, err)
	}
	return nil
}

// HandleRaw serves smith.<service>.<verb> with a handler of one's own, for
// endpoints that answer with more than one message. The handler must not block.
// The error that it gives is answered as that of Handle is.
func (a *API) HandleRaw(verb string, serve func(micro.Request) error) error {
	subject := contracts.ServiceSubject(a.env.Service, verb)
	handler := func(r micro.Request) {
		if !a.answerable(r) {
			return
		}
		err := fits(r)
		if err == nil {
			err = serve(r)
		}
		if err != nil {
			refuse(a, r, err)
		}
	}
	if err := a.svc.AddEndpoint(verb, micro.HandlerFunc(handler), micro.WithEndpointSubject(subject)); err != nil {
		return fmt.Errorf("serve %s: %w", subject, err)
	}
	return nil
}

// answerable tells whether a request can be answered, and takes note of one that
// cannot.
func (a *API) answerable(r micro.Request) bool {
	if Answerable(r.Reply()) {
		return true
	}
	a.reject(r, fmt.Errorf("%s: the reply subject %q is no inbox; send it as a request", r.Subject(), contracts.Clip(r.Reply(), 80)))
	return false
}

// reject counts and reports a request that cannot be understood. No copy is
// kept, and the cause must quote nothing of it: requests may hold secrets.
func (a *API) reject(r micro.Request, cause error) {
	m := Message{Kind: "request", Subject: r.Subject(), Body: r.Data()}
	if !a.begin() {
		return
	}
	go func() { // storing a report takes its time, and others wait to be read
		defer a.inHand.Done()
		a.rejects.Reject(a.ctx, m, cause)
	}()
}

// Answerable tells whether a request's reply subject can be meant. A service
// may publish where its requesters may not, and even a refusal sent to a
// subject of JetStream's API would be a command: nothing answers into the
// system.
func Answerable(reply string) bool {
	return reply != "" && !strings.HasPrefix(reply, "smith.") && !strings.HasPrefix(reply, "$")
}

func answer[Req, Resp any](a *API, r micro.Request, serve func(context.Context, Req) (Resp, error)) {
	ctx, cancel := context.WithTimeout(a.ctx, RequestTimeout)
	defer cancel()
	var req Req
	if err := fits(r); err != nil {
		refuse(a, r, err)
		return
	}
	if len(r.Data()) > 0 {
		if err := json.Unmarshal(r.Data(), &req); err != nil {
			no := Errorf(contracts.CodeBadRequest, "%s: the request is not the JSON expected: %v", r.Subject(), err)
			no.kept = fmt.Errorf("%s: the request is not the JSON expected%s", r.Subject(), jsonFault(err))
			refuse(a, r, no)
			return
		}
	}
	resp, err := serve(ctx, req)
	if err != nil {
		refuse(a, r, err)
		return
	}
	body, err := contracts.Encode(resp)
	if err != nil {
		refuse(a, r, err)
		return
	}
	reply := nats.NewMsg(r.Reply())
	reply.Data = body
	if err := a.env.NC.PublishMsg(reply); err != nil {
		refuse(a, r, err)
	}
}

// fits tells a request that is too large.
func fits(r micro.Request) error {
	if n := len(r.Data()); n > contracts.MaxRequestBytes {
		err := Errorf(contracts.CodeTooLarge, "%s: the request has %d bytes; at most %d", r.Subject(), n, contracts.MaxRequestBytes)
		err.kept = errors.New(err.Message)
		return err
	}
	return nil
}

// refuse answers with an error. Its text goes to the requester alone.
func refuse(a *API, r micro.Request, err error) {
	code, cause := contracts.CodeInternal, error(nil)
	var apiErr *APIError
	if errors.As(err, &apiErr) {
		code, cause = apiErr.Code, apiErr.kept
	} else {
		a.env.Log.Warn("api request failed", "subject", r.Subject(), "error", err)
	}
	// It is the answer that may be too large, too.
	if code == contracts.CodeBadRequest || code == contracts.CodeTooLarge && len(r.Data()) > contracts.MaxRequestBytes {
		if cause == nil {
			cause = Untold(r.Subject(), code)
		}
		a.reject(r, cause)
	}
	// Not r.Error: micro reads the request when the handler has returned, which
	// was long before.
	reply := nats.NewMsg(r.Reply())
	reply.Header.Set(micro.ErrorHeader, contracts.Clip(OneLine(err.Error()), 2048))
	reply.Header.Set(micro.ErrorCodeHeader, code)
	if err := a.env.NC.PublishMsg(reply); err != nil {
		a.env.Log.Warn("api answer not sent", "subject", r.Subject(), "error", err)
	}
}

// Call asks a service's API and decodes its answer. A refusal comes back as an
// *APIError; nobody there as one with CodeNotReady.
func Call[Resp any](ctx context.Context, nc *nats.Conn, subject string, req any) (Resp, error) {
	var resp Resp
	body, err := json.Marshal(req)
	if err != nil {
		return resp, fmt.Errorf("ask %s: %w", subject, err)
	}
	begin := time.Now()
	msg, err := nc.RequestWithContext(ctx, subject, body)
	if errors.Is(err, nats.ErrNoResponders) {
		absent := Errorf(contracts.CodeNotReady, "nobody answers on %s; is that service running?", subject)
		absent.cause = err
		return resp, absent
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return resp, &unansweredError{subject, time.Since(begin), err}
	}
	if err != nil {
		return resp, fmt.Errorf("ask %s: %w", subject, err)
	}
	if text := msg.Header.Get(micro.ErrorHeader); text != "" {
		return resp, &APIError{Code: msg.Header.Get(micro.ErrorCodeHeader), Message: text}
	}
	if err := json.Unmarshal(msg.Data, &resp); err != nil {
		return resp, fmt.Errorf("ask %s: answer of %s bytes is not the JSON expected: %w", subject, strconv.Itoa(len(msg.Data)), err)
	}
	return resp, nil
}

// unansweredError is of a request that has arrived, as far as is known, and was not
// answered in time.
type unansweredError struct {
	subject string
	after   time.Duration
	cause   error
}

func (e *unansweredError) Error() string {
	return fmt.Sprintf("no answer on %s within %s; the service hangs, is busy or waits for its storage: its log tells", e.subject, e.after.Round(100*time.Millisecond))
}

// Unwrap returns that of the context.
func (e *unansweredError) Unwrap() error { return e.cause }
