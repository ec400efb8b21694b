package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const module = "github.com/mistersmith/mistersmith/"

// pkg is a package of this module. Paths within the module are without its name.
type pkg struct {
	path string
	// imports are those of the code, testImports those of its tests, deps all
	// that the code needs, directly or not.
	imports, testImports, deps []string
	// files are the code's, without tests.
	files []file
}

type file struct {
	name  string
	lines int
	// clock are the places where it reads the clock, waits or arms a timer.
	clock []string
}

// everyImport gives the imports of code and tests.
func (p pkg) everyImport() []string { return slices.Concat(p.imports, p.testImports) }

// importing words those of paths that are forbidden.
func (p pkg) importing(paths []string, forbidden func(path string) bool) []string {
	var found []string
	for _, path := range paths {
		if forbidden(path) {
			found = append(found, "imports "+path)
		}
	}
	return found
}

// load reads every package of the module whose root is dir.
func load(dir string) ([]pkg, error) {
	if err := touch(dir); err != nil {
		return nil, err
	}
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,GoFiles,IgnoredGoFiles,Imports,TestImports,XTestImports,Deps", "./...")
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list in %s: %w\n%s", dir, err, stderr.Bytes())
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var listed struct {
			ImportPath, Dir                                                   string
			GoFiles, IgnoredGoFiles, Imports, TestImports, XTestImports, Deps []string
		}
		if err := dec.Decode(&listed); errors.Is(err, io.EOF) {
			return pkgs, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		p := pkg{
			path: shorten(listed.ImportPath)[0], imports: shorten(listed.Imports...), deps: shorten(listed.Deps...),
			testImports: shorten(slices.Concat(listed.TestImports, listed.XTestImports)...),
		}
		for _, name := range slices.Concat(listed.GoFiles, listed.IgnoredGoFiles) {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			src, err := os.ReadFile(filepath.Join(listed.Dir, name))
			if err != nil {
				return nil, err
			}
			f, err := readFile(name, src)
			if err != nil {
				return nil, err
			}
			p.files = append(p.files, f)
		}
		pkgs = append(pkgs, p)
	}
}

// touch looks at every source file, so that go test knows what this test
// depends on and runs it again when one changes: it cannot see what go list reads.
func touch(dir string) error {
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != dir:
			return filepath.SkipDir
		case strings.HasSuffix(path, ".go"):
			_, err = os.Stat(path)
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil // someone is just saving it
		}
		return err
	})
}

func shorten(paths ...string) []string {
	out := make([]string, len(paths))
	for i, path := range paths {
		out[i] = strings.TrimPrefix(path, module)
	}
	return out
}

// readFile measures a file and finds what it asks of the clock.
func readFile(name string, src []byte) (file, error) {
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, name, src, parser.SkipObjectResolution)
	if err != nil {
		return file{}, err
	}
	f := file{name: name, lines: bytes.Count(src, []byte("\n"))}
	clock := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}
	as := importedAs(parsed, "time")
	ast.Inspect(parsed, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && as != "" {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == as && slices.Contains(clock, sel.Sel.Name) {
				f.clock = append(f.clock, fmt.Sprintf("uses time.%s at %s", sel.Sel.Name, fset.Position(sel.Pos())))
			}
		}
		return true
	})
	return f, nil
}

// importedAs is the name by which a file calls a package, or "".
func importedAs(f *ast.File, path string) string {
	for _, spec := range f.Imports {
		if spec.Path.Value != `"`+path+`"` {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path
	}
	return ""
}
