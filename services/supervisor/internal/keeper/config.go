package keeper

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/reference"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Configuration is a file as the supervisor uses it.
type Configuration struct {
	File *config.File
	// Source names the file, as HOST:PATH; empty for no file.
	Source string
	// Specs are the configured tree, parents first.
	Specs []*tree.Spec
	// Environments are those of the configured agents, by agent.
	Environments map[string]map[string]string
	// Sections are digests of the parts that other services read, by name.
	Sections map[string]string
}

// digest stands for the content of a file, with what overrides it.
func (k *Keeper) digest(c Configuration) string {
	return k.environs.Digest([]byte(c.File.Text() + "\x00" + strings.Join(c.File.Overrides(), "\x00")))
}

// open returns the input that taking over ends with: the own file where it is to
// be applied, else what the log says is kept.
func (k *Keeper) open(ctx context.Context) (tree.Input, error) {
	own, err := k.opt.Configure(k.opt.Own)
	if err != nil {
		return tree.Input{}, err
	}
	boot := k.opt.Boot || k.tree.Root() == "" // nobody has stopped what never was
	if root := k.tree.Root(); k.tree.KeptDown(root) {
		k.env.Log.Warn("an operator has stopped the whole tree, and it stays down; smith child restart "+root+" starts it, and smith why "+root+" tells who it was", "tree", k.opt.Tree)
	}
	in := tree.Input{Kind: tree.Configure, Token: newID(), Boot: boot, Reason: "configuration read"}
	c, digest := k.tree.Configured(), k.digest(own)
	offer := tree.Take
	if k.tree.Root() != "" {
		if offer = c.Consider(own.Source, digest, k.opt.Standing); own.Source == "" && c != nil {
			offer = tree.Known // no file is no opinion
		}
	}
	k.offer = offer
	if offer == tree.Take && !own.File.StatesTree() {
		if refused := unstated(own.File, k.tree.Snapshot()); refused != nil {
			// A refused file does not count as read, so the next start says so again.
			ReportPlan(k.env.Log, k.problem(refused))
			k.offer = refusedOffer
			return k.kept(c, nil, in), nil
		}
	}
	switch offer {
	case tree.Take, tree.Same:
		k.file.Store(own.File)
		if offer == tree.Same {
			own.Specs = k.tree.Present(own.Specs)
		}
		if in.Specs, in.Configuration, err = k.seal(own, k.keepEnvironment(ctx)); err != nil {
			return in, err
		}
		if offer == tree.Take {
			in.Configuration.MaxUnavailable, in.Configuration.UsualBound = 1, true
		}
		return in, nil
	}
	var read *tree.Configuration
	if k.opt.Standing == tree.StartsUp {
		read = &tree.Configuration{Source: own.Source, Digest: digest}
	}
	return k.kept(c, read, in), nil
}

// refusedOffer is what became of an own file that was refused.
const refusedOffer tree.Offer = "refused"

// kept returns an opening that keeps the configuration in force; read is that of a
// file which is remembered as read.
func (k *Keeper) kept(c *tree.Configured, read *tree.Configuration, in tree.Input) tree.Input {
	in.Keep, in.Reason, in.Configuration = true, "the configuration in force is kept", read
	k.file.Store(k.fileInForce(c))
	return in
}

// postpone keeps the configuration of the log for now: the own one cannot be
// applied until what is under way in the tree is done.
func (k *Keeper) postpone(ctx context.Context, why string) error {
	k.env.Log.Warn("the configuration is applied later", "tree", k.opt.Tree, "reason", why)
	k.submit(arrival{Input: tree.Input{Kind: tree.Configure, Keep: true, Boot: k.opening.Boot, Reason: "the configuration in force is kept for now"}})
	if _, err := k.decide(ctx); err != nil {
		return err
	}
	own := k.opt.Own
	k.opening = tree.Input{}
	k.visits.Go(func() {
		for shell.Pause(ctx, postponedFor) == nil {
			p, err := k.Apply(ctx, contracts.ConfigRequest{ConfigText: contracts.ConfigText{Config: own.Text()}, Name: own.Path, Source: config.SourceOf(own.Path)})
			if err == nil && (p.Applied || !k.later(p)) {
				ReportPlan(k.env.Log, p)
				return
			}
		}
	})
	return nil
}

// postponedFor is how long a configuration waits for its next try.
const postponedFor = time.Second

// later reports whether a refused configuration can be applied when what is
// under way is done.
func (k *Keeper) later(p contracts.ConfigPlan) bool {
	return !slices.ContainsFunc(p.Problems, func(p contracts.ConfigProblem) bool { return !p.Later })
}

// ReportPlan logs what became of a configuration that nobody at a terminal waits
// for.
func ReportPlan(log *slog.Logger, p contracts.ConfigPlan) {
	for _, problem := range p.Problems {
		log.Error("configuration refused; the one in force stays", "tree", p.Tree, "place", problem.Place(), "error", problem.Message)
	}
	for _, c := range p.Changes {
		log.Info("configuration", "tree", p.Tree, "node", c.Node, "change", string(c.Change), "then", string(c.Then))
	}
	if len(p.Problems) > 0 {
		return
	}
	log.Info("configuration read", "tree", p.Tree, "applied", p.Applied, "changes", len(p.Changes)+p.Others, "same", p.Same)
	if p.Note != "" {
		log.Warn("configuration not applied", "tree", p.Tree, "reason", p.Note)
	}
	if len(p.Elsewhere) > 0 {
		log.Warn("other services read these sections only when they start; restart them", "tree", p.Tree, "sections", strings.Join(p.Elsewhere, ", "))
	}
}

// fileInForce is the file that the configuration in force came from, as far as
// it is kept; else the own one.
func (k *Keeper) fileInForce(c *tree.Configured) *config.File {
	if c == nil || c.Text == "" {
		return k.opt.Own
	}
	vars, err := k.environs.Get(c.Text)
	if err == nil {
		var read Configuration
		var text string
		if text, err = unpacked(vars); err == nil {
			if read, err = k.opt.Read("the configuration in force", text); err == nil {
				return read.File
			}
		}
	}
	k.env.Log.Warn("the configuration in force cannot be read; defaults of added agents are those of the own file", "tree", k.opt.Tree, "error", err)
	return k.opt.Own
}

// textVariable is what a file's text is kept as, and packedVariable a long one, in base64
// of [contracts.ConfigText]. What is too long to be sent is not kept.
const (
	textVariable   = "text"
	packedVariable = "packed"
)

// packed returns a file's text as it is kept; nil for one that is not.
func packed(text string) map[string]string {
	sent, err := contracts.PackConfig(text)
	switch {
	case err != nil || text == "":
		return nil
	case len(sent.Packed) > 0:
		return map[string]string{packedVariable: base64.StdEncoding.EncodeToString(sent.Packed)}
	}
	return map[string]string{textVariable: text}
}

// unpacked returns the text of a file that is kept.
func unpacked(vars map[string]string) (string, error) {
	kept := contracts.ConfigText{Config: vars[textVariable]}
	var err error
	if kept.Packed, err = base64.StdEncoding.DecodeString(vars[packedVariable]); err != nil {
		return "", err
	}
	return kept.Text()
}

// Refer returns the reference to an agent's environment.
type Refer func(agent string, vars map[string]string) (ref string, err error)

// keepEnvironment refers to environments that it stores, to be held until the
// decision that needs them.
func (k *Keeper) keepEnvironment(ctx context.Context) Refer {
	return func(agent string, vars map[string]string) (string, error) {
		return k.environs.Keep(ctx, agent, vars)
	}
}

// findEnvironment refers to environments for comparison alone.
func (k *Keeper) findEnvironment(agent string, vars map[string]string) (string, error) {
	ref, _, err := k.environs.Find(agent, vars)
	return ref, err
}

// Sealed returns the specifications of a configuration as the log holds them:
// they refer to environments, and say what a running process cannot take on.
func (c Configuration) Sealed(ref Refer) ([]*tree.Spec, error) {
	specs := make([]*tree.Spec, 0, len(c.Specs))
	known := sealedAgents{}
	for _, s := range c.Specs {
		if s.Agent != nil {
			sealed, err := sealAgent(s, c.Environments[s.ID], ref, known)
			if err != nil {
				return nil, fmt.Errorf("agent %s: %w", s.ID, err)
			}
			s = sealed
		}
		specs = append(specs, s)
	}
	return specs, nil
}

// seal returns what the log holds of a configuration.
func (k *Keeper) seal(c Configuration, ref Refer) ([]*tree.Spec, *tree.Configuration, error) {
	specs, err := c.Sealed(ref)
	if err != nil {
		return nil, nil, err
	}
	out := &tree.Configuration{Source: c.Source, Digest: k.digest(c), Sections: c.Sections}
	if vars := packed(c.File.Text()); vars != nil {
		if out.Text, err = ref("", vars); err != nil {
			return nil, nil, err
		}
	}
	return specs, out, nil
}

// release lets go of what sealing has kept, once it is decided or refused.
func (k *Keeper) release(specs []*tree.Spec, c *tree.Configuration) {
	for _, s := range specs {
		if s.Agent == nil {
			continue
		}
		if ref := reference.Of(s.Agent.Start); ref != "" {
			k.environs.Drop(ref)
		}
	}
	if c != nil && c.Text != "" {
		k.environs.Drop(c.Text)
	}
}

// sealedAgents are those made already: the agents of a template share one.
type sealedAgents map[sealedFrom]*tree.Agent

type sealedFrom struct {
	agent *tree.Agent
	env   string
}

func sealAgent(s *tree.Spec, vars map[string]string, ref Refer, known sealedAgents) (*tree.Spec, error) {
	from := sealedFrom{agent: s.Agent}
	var err error
	if len(vars) > 0 {
		if from.env, err = ref(s.ID, vars); err != nil {
			return nil, err
		}
	}
	a := known[from]
	if a == nil {
		made := *s.Agent
		a = &made
		if a.Build, err = build(a.Start, from.env); err != nil {
			return nil, err
		}
		if from.env != "" {
			if a.Start, err = reference.Put(a.Start, from.env); err != nil {
				return nil, err
			}
		}
		known[from] = a
	}
	sealed := *s
	sealed.Agent = a
	return &sealed, nil
}

// build stands for all of a start that a running process cannot take on. What a
// supervisor heeds without the process, such as deadlines, is not part of it.
func build(start json.RawMessage, env string) (string, error) {
	var c contracts.StartCommand
	if err := json.Unmarshal(start, &c); err != nil {
		return "", fmt.Errorf("its start cannot be read: %w", err)
	}
	c.StartDeadline, c.ShutdownTimeout = 0, 0
	raw, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("its start cannot be written: %w", err)
	}
	content, _, _ := strings.Cut(env, "-") // where it is kept does not matter
	sum := sha256.Sum256(append(raw, content...))
	return hex.EncodeToString(sum[:8]), nil
}

// problems lists what is wrong with a configuration that was refused.
func problems(err error) []contracts.ConfigProblem {
	var all config.Errors
	if !errors.As(err, &all) {
		return []contracts.ConfigProblem{{Message: err.Error()}}
	}
	out := make([]contracts.ConfigProblem, 0, len(all))
	for _, p := range all {
		out = append(out, contracts.ConfigProblem{File: p.File, Line: p.Line, Column: p.Column, Setting: p.Path, Message: p.Message})
	}
	return out
}
