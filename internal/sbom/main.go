// Command sbom writes a software bill of materials of Go binaries to the standard output. It is a
// CycloneDX 1.6 document in JSON. The same binaries give the same bytes: there is no time and no
// serial number in it.
//
//	sbom <name> <version> <binary>...
//
// The components are the modules that are compiled into at least one of the binaries, as the Go
// linker recorded them, and the standard library. Licenses are not listed. Files that the gateway
// embeds are listed in NOTICE.
package main

import (
	"cmp"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	if len(args) < 3 {
		return fmt.Errorf("expected a name, a version and at least one binary, found %d arguments", len(args))
	}
	var infos []*debug.BuildInfo
	for _, binary := range args[2:] {
		info, err := buildinfo.ReadFile(binary)
		if err != nil {
			return fmt.Errorf("reading %s: %w", binary, err)
		}
		infos = append(infos, info)
	}
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(newDocument(args[0], args[1], infos))
}

// document is the part of a CycloneDX document that is used here.
type document struct {
	Schema       string       `json:"$schema"`
	Format       string       `json:"bomFormat"`
	SpecVersion  string       `json:"specVersion"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Component component `json:"component"`
}

type component struct {
	Type    string `json:"type"`
	Ref     string `json:"bom-ref"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl,omitempty"`
	Hashes  []hash `json:"hashes,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn"`
}

// newDocument lists the modules of binaries that belong to one release.
func newDocument(name, version string, infos []*debug.BuildInfo) document {
	root := component{Type: "application", Ref: "root", Name: name, Version: version}
	byRef := make(map[string]component)
	for _, info := range infos {
		std := library("std", strings.TrimPrefix(info.GoVersion, "go"), "")
		byRef[std.Ref] = std
		for _, m := range info.Deps {
			// What is in the place of a module has its own name and version, unless it is a
			// directory. Some versions of Go record none for a directory, others "(devel)".
			if r := m.Replace; r != nil && r.Version != "" && r.Version != "(devel)" {
				m = m.Replace
			}
			c := library(m.Path, m.Version, m.Sum)
			byRef[c.Ref] = c
		}
	}
	d := document{
		Schema: "http://cyclonedx.org/schema/bom-1.6.schema.json", Format: "CycloneDX", SpecVersion: "1.6", Version: 1,
		Metadata: metadata{root}, Components: []component{},
	}
	refs := []string{}
	for _, c := range byRef {
		d.Components = append(d.Components, c)
	}
	slices.SortFunc(d.Components, func(a, b component) int { return cmp.Compare(a.Ref, b.Ref) })
	for _, c := range d.Components {
		refs = append(refs, c.Ref)
	}
	d.Dependencies = []dependency{{root.Ref, refs}}
	return d
}

// library is the component of a module. sum is its checksum as in go.sum, or empty.
func library(path, version, sum string) component {
	purl := "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B")
	c := component{Type: "library", Ref: purl, Name: path, Version: version, PURL: purl}
	if raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(sum, "h1:")); err == nil && len(raw) > 0 {
		c.Hashes = []hash{{"SHA-256", hex.EncodeToString(raw)}}
	}
	return c
}
