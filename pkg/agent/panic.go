package agent

import (
	"bytes"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// PanicError is a panic that was caught in an agent's code.
type PanicError struct {
	// Value is what the code panicked with.
	Value any
	// Stack is where, from the panicking frame on; at most
	// contracts.MaxOutputTail bytes.
	Stack string
}

// Error implements error. It leaves the stack out.
func (e *PanicError) Error() string { return fmt.Sprintf("panicked: %v", e.Value) }

// Unwrap gives the value where it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// errGoexit stands for code that ended its goroutine instead of returning.
var errGoexit = errors.New("ended its goroutine (runtime.Goexit) instead of returning")

// catch runs f in this goroutine and hands what became of it to done, which
// runs even if f panics or ends the goroutine.
func catch(f func() error, done func(error)) {
	err := errGoexit
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: panicStack(debug.Stack())}
		}
		done(err)
	}()
	err = f()
}

// panicStack cuts the frames of the recovery from a stack, and its length.
func panicStack(stack []byte) string {
	if i := bytes.Index(stack, []byte("\npanic(")); i >= 0 {
		stack = stack[i+1:]
	}
	return contracts.Clip(string(stack), contracts.MaxOutputTail)
}
