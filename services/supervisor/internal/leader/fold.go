package leader

// Fold puts decisions together from their messages, in the log's order. A
// decision counts when its last message is there; what was never completed was
// never acted on. The zero value is ready.
type Fold[P any] struct {
	first string
	parts []P
}

// Add takes the next message of the tree: its id, what it holds, and whether
// more of the same decision follow. It returns all parts of the decision when
// this was the last, otherwise nil.
func (f *Fold[P]) Add(id string, part P, more bool) []P {
	if len(f.parts) == 0 || id != PartID(f.first, len(f.parts)) {
		f.parts, f.first = nil, id
	}
	f.parts = append(f.parts, part)
	if more {
		return nil
	}
	whole := f.parts
	f.parts = nil
	return whole
}
