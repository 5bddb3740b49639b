package notice

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../../.."

// directive is a go:embed directive with its patterns.
var directive = regexp.MustCompile(`(?m)^\s*//go:embed +(.+)$`)

// embedded lists the files that Go code embeds, from the root. Tests and what only tests use do not
// count.
func embedded(t *testing.T) []string {
	t.Helper()
	files := []string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		name := entry.Name()
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && (strings.HasPrefix(name, ".") || slices.Contains([]string{"testdata", "node_modules", "e2e", "bench"}, name)):
			return filepath.SkipDir
		case !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, match := range directive.FindAllStringSubmatch(string(source), -1) {
			for _, pattern := range strings.Fields(match[1]) {
				files = append(files, matching(t, filepath.Dir(path), strings.TrimPrefix(pattern, "all:"))...)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	return slices.Compact(files)
}

// matching lists the files of a pattern. A directory stands for all files in it.
func matching(t *testing.T, dir, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s embeds %s, which matches no file (%v)", dir, pattern, err)
	}
	var files []string
	for _, path := range paths {
		err := filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			name, err := filepath.Rel(root, path)
			files = append(files, filepath.ToSlash(name))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// listed returns the lines of NOTICE that are nothing but a path.
func listed(t *testing.T) []string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, "NOTICE"))
	if err != nil {
		t.Fatal(err)
	}
	files := []string{}
	for line := range strings.Lines(string(raw)) {
		if line = strings.TrimSpace(line); strings.Contains(line, "/") && !strings.Contains(line, " ") {
			files = append(files, line)
		}
	}
	slices.Sort(files)
	return files
}

func TestNoticeListsWhatIsEmbedded(t *testing.T) {
	want, got := embedded(t), listed(t)
	for _, name := range want {
		if !slices.Contains(got, name) {
			t.Errorf("%s is embedded, and NOTICE does not list it", name)
		}
	}
	for _, name := range got {
		if !slices.Contains(want, name) {
			t.Errorf("NOTICE lists %s, which is not embedded", name)
		}
	}
}

// The version of Swagger UI is the one that npm installs to check the page's files.
func TestVersionOfSwaggerUI(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(root, "e2e/apidocs/testdata/npm/package.json"))
	if err != nil {
		t.Fatal(err)
	}
	notice, err := os.ReadFile(filepath.Join(root, "NOTICE"))
	if err != nil {
		t.Fatal(err)
	}
	var npm struct {
		Dependencies, DevDependencies map[string]string
	}
	if err := json.Unmarshal(raw, &npm); err != nil {
		t.Fatal(err)
	}
	version := npm.Dependencies["swagger-ui-dist"] + npm.DevDependencies["swagger-ui-dist"]
	if version == "" || !strings.Contains(string(notice), "swagger-ui-dist "+version+"\n") {
		t.Errorf("NOTICE does not list swagger-ui-dist %s", version)
	}
}
