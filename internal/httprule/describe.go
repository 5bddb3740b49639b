package httprule

// Part is one segment of a template, for those who describe the path to people.
type Part struct {
	// Literal is the text of the segment, percent-decoded. It is "" for a wildcard.
	Literal string
	// Deep says that the wildcard is `**`. It matches any number of segments.
	Deep bool
	// Variable is the field path of the variable that the segment belongs to, or "".
	Variable string
	// Whole says that the segment is all of its variable.
	Whole bool
}

// Parts returns the segments of the template, in order. The verb is not among them.
func (t *Template) Parts() []Part {
	parts := make([]Part, len(t.segments))
	for i, s := range t.segments {
		parts[i] = Part{Deep: s.kind == deepSegment}
		if s.kind == literalSegment {
			parts[i].Literal = s.text
		}
		for _, v := range t.variables {
			if v.start <= i && i < v.end {
				parts[i].Variable, parts[i].Whole = v.path, v.end-v.start == 1
			}
		}
	}
	return parts
}
