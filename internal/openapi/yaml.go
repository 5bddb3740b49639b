package openapi

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// YAML turns a document of Build into YAML, in the same order. JSON is YAML already, so this only
// changes the style.
func YAML(document []byte) ([]byte, error) {
	var node yaml.Node
	if err := yaml.Unmarshal(document, &node); err != nil {
		return nil, fmt.Errorf("write the OpenAPI document as YAML: %w", err)
	}
	plain(&node)
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(&node); err != nil {
		return nil, fmt.Errorf("write the OpenAPI document as YAML: %w", err)
	}
	return out.Bytes(), nil
}

// plain removes the style of JSON. The tags stay, so that text which looks like a number is quoted.
func plain(node *yaml.Node) {
	node.Style = 0
	for _, child := range node.Content {
		plain(child)
	}
}

// WithServer returns the document with a base URL. It does not write into the document.
func WithServer(document []byte, url string) []byte {
	at := bytes.Index(document, []byte(`,"info":`))
	if url == "" || at < 0 {
		return document
	}
	quoted, err := appendText(nil, url)
	if err != nil {
		return document
	}
	return bytes.Join([][]byte{document[:at], []byte(`,"servers":[{"url":`), quoted, []byte(`}]`), document[at:]}, nil)
}

// YAMLWithServer is WithServer for a document of YAML.
func YAMLWithServer(document []byte, url string) []byte {
	at := bytes.Index(document, []byte("\ninfo:"))
	if url == "" || at < 0 {
		return document
	}
	quoted, err := appendText(nil, url) // A string of JSON is one of YAML.
	if err != nil {
		return document
	}
	return bytes.Join([][]byte{document[:at], []byte("\nservers:\n  - url: "), quoted, document[at:]}, nil)
}
