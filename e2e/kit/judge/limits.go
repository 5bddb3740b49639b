package judge

import (
	"mime"
	"strings"
)

// limit is something that a judge gets wrong.
type limit struct {
	// judge and about name it.
	judge, about string
	side         Side
	// says is a part of the complaint.
	says string
	// in reports whether a call has what the judge gets wrong.
	in func(c *Call) bool
}

// limits are the known mistakes of the judges, each with its reason.
var limits = []limit{
	// It decodes a list in a form only if its items have one simple type, and refuses every form of
	// a message that has another list. Enums are names or numbers.
	{"kin-openapi", "forms with lists of enums", SideRequest, "unsupported schema of request body's property", nil},
	// It needs a decoder for the type of each file in a form.
	{"kin-openapi", "files in forms", SideRequest, `unsupported content type "image/`, nil},
	// It reads a list of one item in a form as a text.
	{"libopenapi-validator", "lists of one item in forms", SideRequest, "got string, want array", inForm},
}

func inForm(c *Call) bool {
	mediaType, _, _ := mime.ParseMediaType(c.Request.Header.Get("Content-Type"))
	return mediaType == "application/x-www-form-urlencoded"
}

// excuses reports whether a complaint is a known mistake of the judge.
func (res *Results) excuses(j Judge, c *Call, side Side, err error) bool {
	for _, l := range limits {
		if l.judge == j.Name() && l.side == side && strings.Contains(err.Error(), l.says) && (l.in == nil || l.in(c)) {
			res.count(excused+l.judge+": "+l.about, 1)
			return true
		}
	}
	return false
}
