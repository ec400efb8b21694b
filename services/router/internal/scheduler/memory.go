package scheduler

import "container/list"

// memory remembers values by id and forgets the oldest beyond its limit.
// Pinned values are kept up to twice the limit.
type memory[V any] struct {
	limit int
	byID  map[string]*list.Element
	order *list.List // of *remembered[V], oldest first
}

type remembered[V any] struct {
	id     string
	value  V
	pinned bool
}

func newMemory[V any](limit int) *memory[V] {
	return &memory[V]{limit: limit, byID: map[string]*list.Element{}, order: list.New()}
}

func (m *memory[V]) find(id string) *remembered[V] {
	if e, ok := m.byID[id]; ok {
		return e.Value.(*remembered[V])
	}
	return nil
}

func (m *memory[V]) get(id string) (v V, ok bool) {
	if r := m.find(id); r != nil {
		return r.value, true
	}
	return v, false
}

func (m *memory[V]) put(id string, v V, pinned bool) {
	if r := m.find(id); r != nil {
		r.value = v
		return
	}
	m.byID[id] = m.order.PushBack(&remembered[V]{id: id, value: v, pinned: pinned})
	for m.order.Len() > m.limit {
		oldest := m.order.Front().Value.(*remembered[V])
		if oldest.pinned && m.order.Len() <= 2*m.limit {
			return
		}
		m.remove(oldest.id)
	}
}

func (m *memory[V]) unpin(id string) {
	if r := m.find(id); r != nil {
		r.pinned = false
	}
}

func (m *memory[V]) remove(id string) {
	if e, ok := m.byID[id]; ok {
		m.order.Remove(e)
		delete(m.byID, id)
	}
}

// all gives what is remembered, from the oldest on.
func (m *memory[V]) all() []*remembered[V] {
	rs := make([]*remembered[V], 0, m.order.Len())
	for e := m.order.Front(); e != nil; e = e.Next() {
		rs = append(rs, e.Value.(*remembered[V]))
	}
	return rs
}
