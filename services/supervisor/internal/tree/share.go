package tree

import "reflect"

// Shared lets what is equal in many nodes be one in memory: the words of their
// states, and what the agents of one template have in common. What is read from
// JSON, or made one by one, has all of it anew for each node. The zero value is
// ready.
type Shared struct {
	words  map[string]string
	agents map[string][]*Agent
}

// Record shares the parts of a record that is in no tree yet.
func (s *Shared) Record(r *Record) {
	s.Spec(r.Spec)
	s.state(r.State)
	s.history(r.Failures)
	s.history(r.Restarts)
}

// Change shares the parts of a change that is in no tree yet.
func (s *Shared) Change(c *Change) {
	s.Spec(c.Spec)
	s.state(c.State)
	s.history(c.Failures)
	s.history(c.Restarts)
}

// Spec shares the parts of a spec that is in no tree yet.
func (s *Shared) Spec(spec *Spec) {
	if spec == nil {
		return
	}
	share(s, &spec.Parent)
	share(s, &spec.Restart)
	share(s, &spec.Template)
	share(s, &spec.Origin)
	share(s, &spec.Backoff.Type)
	spec.Agent = s.agent(spec.Agent)
}

// agent returns an equal one seen before, or the same.
func (s *Shared) agent(a *Agent) *Agent {
	if a == nil {
		return nil
	}
	for _, known := range s.agents[string(a.Start)] {
		if reflect.DeepEqual(known, a) {
			return known
		}
	}
	if s.agents == nil {
		s.agents = map[string][]*Agent{}
	}
	share(s, &a.Runner)
	s.agents[string(a.Start)] = append(s.agents[string(a.Start)], a)
	return a
}

func (s *Shared) state(st *State) {
	if st == nil {
		return
	}
	share(s, &st.Phase)
	share(s, &st.Why)
	share(s, &st.Runner)
	share(s, &st.Home)
	share(s, &st.Then)
	share(s, &st.From)
	share(s, &st.Claim)
	share(s, &st.Cause)
	share(s, &st.Chain)
	share(s, &st.Decision)
}

func (s *Shared) history(entries []Entry) {
	for i := range entries {
		share(s, &entries[i].Reason)
		share(s, &entries[i].Event)
	}
}

func share[T ~string](s *Shared, word *T) {
	if *word == "" {
		return
	}
	if known, ok := s.words[string(*word)]; ok {
		*word = T(known)
		return
	}
	if s.words == nil {
		s.words = map[string]string{}
	}
	s.words[string(*word)] = string(*word)
}
