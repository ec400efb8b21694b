package lint

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/mistersmith/mistersmith/internal/config"
)

// FuzzCheck: whatever a valid file says, every finding has a rule, a setting,
// words, and a place in the file.
func FuzzCheck(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range append(files, "../testdata/good/everything.yaml", "../testdata/good/tree.yaml") {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := config.Parse("f.yaml", data)
		if err != nil {
			return
		}
		for _, w := range Check(file) {
			if w.Rule == "" || w.Setting == "" || w.Message == "" || w.Advice == "" || w.Line < 1 || w.Column < 1 || w.File != "f.yaml" {
				t.Errorf("%+v", w)
			}
		}
	})
}
