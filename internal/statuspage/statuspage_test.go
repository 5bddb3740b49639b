package statuspage

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

func TestPage(t *testing.T) {
	page := New()
	const most = 60 << 10
	if len(page.HTML) > most {
		t.Errorf("the page has %d bytes, more than %d", len(page.HTML), most)
	}
	if bytes.Contains(page.HTML, []byte("/*css*/")) || bytes.Contains(page.HTML, []byte("/*js*/")) {
		t.Error("a part is missing")
	}
	for _, other := range regexp.MustCompile(`https?://[^\s"']+|(?:src|href)=`).FindAllString(string(page.HTML), -1) {
		t.Errorf("the page refers to %s", other)
	}
	for _, unsafe := range []string{"innerHTML", "insertAdjacentHTML", "document.write", "eval(", " onclick="} {
		if strings.Contains(string(page.HTML), unsafe) {
			t.Errorf("the page uses %s, so texts of others could become HTML", unsafe)
		}
	}
	if strings.Contains(page.Policy, "unsafe") || strings.Count(page.Policy, "sha256-") != 2 {
		t.Errorf("the policy is %s", page.Policy)
	}
}
