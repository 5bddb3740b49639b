package caddyfile

import "testing"

func TestUndoShorthands(t *testing.T) {
	for _, template := range []string{
		"/v1/plain",
		"/v1/{id}",
		"/v1/{path}",
		"/v1/{path}/{host}:verb",
		"/v1/{file}/{query.page}/{header.name}/{uuid}/{vars.x}",
		"/v1/{path=**}",
		"/v1/{path.file=*}",
		"/v1/{err.code_x}",
	} {
		expanded := expandShorthand(template)
		if got := undoShorthands(expanded); got != template {
			t.Errorf("%s became %s, and then %s", template, expanded, got)
		}
	}
	for _, name := range shorthandNames {
		template := "{" + name + "}"
		expanded := expandShorthand(template)
		if expanded == template {
			t.Errorf("Caddy has no shorthand %s", template)
		}
		if got := undoShorthands(expanded); got != template {
			t.Errorf("%s became %s, and then %s", template, expanded, got)
		}
	}
}
