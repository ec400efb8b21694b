package config

import "strings"

// Place is where the file gives a setting, such as
// "supervision_tree.tree[0].policy", or else the nearest setting around it that
// it gives. The zero Position: it gives none of them.
func (f *File) Place(setting string) Position {
	for setting != "" {
		if at, ok := f.places[setting]; ok {
			return at
		}
		setting = around(setting)
	}
	return f.places[""]
}

// Gives tells whether the file itself gives a setting. What the environment
// gives is not in the file.
func (f *File) Gives(setting string) bool {
	_, ok := f.places[setting]
	return ok
}

// around is the setting that another is part of.
func around(setting string) string {
	return setting[:max(0, strings.LastIndexAny(setting, ".["))]
}

// note keeps where a value is, the first time it is met: what a merge brings in
// comes after what it is merged into.
func (d *decoder) note(v value) {
	if _, known := d.places[v.path]; !known && v.env == "" {
		d.places[v.path] = position(v)
	}
}
