package config

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// object is a mapping being read. Each key that the code asks for is a known
// one; done reports all others. So the code that reads a section is also the
// list of what the section may hold.
type object struct {
	value
	fields map[string]field
	order  []string
	known  []string
	// prefix of the environment variables that override its scalars, or "".
	prefix string
}

type field struct {
	key, val *yaml.Node
}

// object reads v as a mapping. Nothing at all is an empty one; anything else
// is reported and read as an empty one, so that reading goes on.
func (v value) object() *object {
	o := &object{value: v, fields: map[string]field{}}
	resolved, ok := v.resolve()
	o.value = resolved
	switch {
	case !ok, o.isNull():
	case o.node.Kind != yaml.MappingNode:
		o.fail("a mapping (key: value) is needed, not %s", o.kind())
	default:
		o.collect(o.node, 0)
	}
	return o
}

// collect notes the fields of a mapping, and after them those it merges in
// with <<, which give way to its own.
func (o *object) collect(n *yaml.Node, depth int) {
	var merges []*yaml.Node
	own := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		switch first, present := o.fields[key.Value]; {
		case key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge":
			merges = append(merges, val)
		case key.Kind != yaml.ScalarNode:
			o.failAt(key, "a key must be a word")
		case own[key.Value]:
			o.failAt(key, "key %q is given twice, first at line %d; remove one", clip(key.Value), first.key.Line)
		default:
			own[key.Value] = true
			if !present {
				o.fields[key.Value] = field{key, val}
				o.order = append(o.order, key.Value)
			}
		}
	}
	for _, m := range merges {
		o.merge(m, depth+1)
	}
}

func (o *object) merge(n *yaml.Node, depth int) {
	v, ok := value{d: o.d, node: n, path: o.path, depth: o.depth + depth}.resolve()
	switch {
	case !ok:
	case v.node.Kind == yaml.MappingNode:
		o.collect(v.node, depth)
	case v.node.Kind == yaml.SequenceNode:
		for _, e := range v.node.Content {
			o.merge(e, depth+1)
		}
	default:
		v.fail("<< merges mappings, not %s; write <<: *anchor", v.kind())
	}
}

// get gives the value of a key, from the environment before the file.
func (o *object) get(key string) (value, bool) {
	o.known = append(o.known, key)
	if o.d.known != nil {
		o.d.known[key] = true
	}
	if o.prefix != "" {
		if text, name, ok := o.d.env.take(o.prefix, key); ok {
			return value{d: o.d, node: &yaml.Node{Kind: yaml.ScalarNode, Value: text}, path: o.child(key), env: name}, true
		}
	}
	f, ok := o.fields[key]
	if !ok {
		return value{}, false
	}
	return value{d: o.d, node: f.val, path: o.child(key), depth: o.depth + 1}.resolve()
}

// section gives the mapping under a key, empty when there is none.
func (o *object) section(key string) *object {
	if v, ok := o.get(key); ok {
		return v.object()
	}
	return &object{value: value{d: o.d, node: o.node, path: o.child(key), depth: o.depth + 1}}
}

// settings is a section whose scalars the environment can override.
func (o *object) settings(key string) *object {
	s := o.section(key)
	s.prefix = envPrefix + strings.ToUpper(key) + "_"
	return s
}

// pairs gives the keys and values of a mapping with free keys, in the order of
// the file.
func (o *object) pairs(yield func(key, v value)) {
	for _, name := range o.order {
		f := o.fields[name]
		key := value{d: o.d, node: f.key, path: o.child(name)}
		if v, ok := (value{d: o.d, node: f.val, path: o.child(name), depth: o.depth + 1}).resolve(); ok {
			yield(key, v)
		}
	}
}

// entries gives the names and values of a mapping whose free keys are ids. A
// key that is none is reported, and its value read all the same for the
// problems it may have.
func (o *object) entries(yield func(name string, v value)) {
	o.pairs(func(key, v value) {
		name := key.node.Value
		if err := checkID(name); err != "" {
			key.fail("%s", err)
		}
		yield(name, v)
	})
}

// has tells whether the file gives the key.
func (o *object) has(key string) bool {
	_, ok := o.fields[key]
	return ok
}

// at gives the place of a key's value, or the object's when it is not given.
func (o *object) at(key string) value {
	if f, ok := o.fields[key]; ok {
		return value{d: o.d, node: f.val, path: o.child(key)}
	}
	return o.value
}

func (o *object) child(key string) string {
	if o.path == "" {
		return key
	}
	return o.path + "." + key
}

// done reports the keys nobody asked for. hint may say where a key belongs.
func (o *object) done(hint func(key string) string) {
	for _, key := range o.order {
		if slices.Contains(o.known, key) {
			continue
		}
		advice := ""
		if hint != nil {
			advice = hint(key)
		}
		if advice == "" {
			advice = didYouMean(key, o.known)
		}
		o.failAt(o.fields[key].key, "unknown key %q; %s", clip(key), advice)
	}
	if o.prefix != "" {
		o.d.env.offer(o.prefix, o.known)
	}
}
