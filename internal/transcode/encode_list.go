package transcode

import "strconv"

// list writes a run of a repeated field. Its first tag ends at p. The run ends where another field
// begins.
func (e *encoder) list(out []byte, f *field, p, end int, tag uint64) ([]byte, int, bool) {
	before := len(out)
	out = append(appendKey(out, f), '[')
	first := len(out)
	for i := 0; ; i++ {
		var ok bool
		switch {
		case f.kind == kindString:
			out, p, ok = e.stringElement(out, f, p, end, i)
		case uint32(tag) != f.tag:
			out, p, ok = e.packed(out, f, p, end)
		default:
			out, p, ok = e.oneElement(out, f, p, end, i)
		}
		if !ok {
			return out, p, false
		}
		if p >= end {
			break
		}
		// The tag of the next element is mostly one byte, and the same as the last one.
		if tag < 0x80 && e.in[p] == byte(tag) {
			p++
			continue
		}
		if other := uint64(e.in[p]); 8 <= other && other < 0x80 && other>>3 != uint64(f.num) {
			break
		}
		next, q := e.tag(p, end)
		if q < 0 {
			return out, p, false
		}
		if uint32(next) != f.tag && (!f.packable || next != uint64(f.num)<<3|wireBytes) {
			break
		}
		tag, p = next, q
	}
	if len(out) == first {
		return e.absent(out[:before], f), p, true
	}
	out[len(out)-1] = ']' // in place of the comma after the last element
	return append(out, ','), p, true
}

// oneElement writes the element of a list at p, followed by a comma.
func (e *encoder) oneElement(out []byte, f *field, p, end, index int) ([]byte, int, bool) {
	if !e.element(out) {
		out, ok := e.tooMany(out)
		return out, p, ok
	}
	out, p, ok := e.value(out, f, p, end)
	if !ok {
		within(e.err, strconv.Itoa(index))
		return out, p, false
	}
	return append(out, ','), p, true
}

// stringElement is oneElement for a string.
func (e *encoder) stringElement(out []byte, f *field, p, end, index int) ([]byte, int, bool) {
	to := e.shortEnd(p, end)
	if to < 0 || cap(out)-len(out) <= to-p+textRoom || !e.element(out) {
		return e.oneElement(out, f, p, end, index)
	}
	buf := out[:cap(out)]
	n := putText(buf, len(out), e.in, p+1, to)
	if n >= 0 {
		buf[n] = ','
		return buf[:n+1], to, true
	}
	out, ok := appendOddText(out, e.in[p+1:to])
	if !ok {
		if out, ok = e.invalid(out, f, p+1, to); !ok {
			within(e.err, strconv.Itoa(index))
			return out, p, false
		}
	}
	return append(out, ','), to, true
}

// packed writes the elements of a packed field at p, each followed by a comma.
func (e *encoder) packed(out []byte, f *field, p, end int) ([]byte, int, bool) {
	p, to := e.payload(p, end)
	if to < 0 {
		return out, p, false
	}
	buf, n := out[:cap(out)], len(out)
	for p < to {
		if !e.element(buf[:n]) {
			out, ok := e.tooMany(buf[:n])
			return out, p, ok
		}
		v, q := e.bits(f, p, to)
		if q < 0 {
			return buf[:n], p, false
		}
		p = q
		if len(buf)-n > scalarRoom {
			if at := e.c.putScalar(buf, n, f, v); at > 0 {
				buf[at] = ','
				n = at + 1
				continue
			}
		}
		out = append(e.c.appendScalar(buf[:n], f, v), ',')
		buf, n = out[:cap(out)], len(out)
	}
	return buf[:n], p, true
}
