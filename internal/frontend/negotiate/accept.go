package negotiate

import "strings"

// maxQuality is the weight 1, in thousandths: qvalues have three decimals.
const maxQuality = 1000

// How exactly a media range names a type, RFC 9110, section 12.5.1: the most exact range that matches has the say.
const (
	anyType      = iota + 1 // */*
	anySubtype              // type/*
	otherVersion            // type/subtype with parameters that the offer does not have
	exactType               // type/subtype
)

// Accept chooses among the offered media types (lower case, no parameters, at least one, the one the server likes best
// first) by the values of a request's Accept headers. ok is false when none is acceptable: HTTP 406.
//
// The highest weight wins; of equal weights, the offer that the client names more exactly; then the earlier offer.
// Weight 0 excludes a type. What is not a media range with a weight is ignored, and a header with nothing else is
// treated like none: everything is acceptable.
//
// Our types have no parameters. `application/json;charset=utf-8` is application/json; a range with other parameters
// (`application/json;version=2`) is taken as naming the type too, rather than refused, unless one without them does.
func Accept(values, offers []string) (chosen string, ok bool) {
	bestQuality, bestExactness := 0, 0
	stated := false
	for _, offer := range offers {
		quality, exactness, some := weigh(values, offer)
		stated = stated || some
		if quality > bestQuality || quality == bestQuality && quality > 0 && exactness > bestExactness {
			chosen, bestQuality, bestExactness = offer, quality, exactness
		}
	}
	if !stated && len(offers) > 0 {
		return offers[0], true
	}
	return chosen, bestQuality > 0
}

// weigh returns the weight of an offer and how exactly it was named. stated tells whether there was any range.
func weigh(values []string, offer string) (quality, exactness int, stated bool) {
	for _, list := range values {
		for more := true; more; {
			var element string
			element, list, more = cut(list, ',')
			r, ok := parseRange(element)
			if !ok {
				continue
			}
			stated = true
			switch e := r.exactness(offer); {
			case e > exactness:
				quality, exactness = r.quality, e
			case e > 0 && e == exactness: // named twice: the client takes it at either weight
				quality = max(quality, r.quality)
			}
		}
	}
	return quality, exactness, stated
}

// mediaRange is one element of an Accept header.
type mediaRange struct {
	main, sub  string
	parameters bool // it has parameters that narrow it
	quality    int
}

func parseRange(element string) (mediaRange, bool) {
	name, parameters, _ := cut(element, ';')
	r := mediaRange{quality: maxQuality}
	var ok bool
	if r.main, r.sub, ok = strings.Cut(name, "/"); !ok {
		if name != "*" { // java.net.HttpURLConnection sends it for */*
			return r, false
		}
		r.sub = "*"
	}
	if !isToken(r.main) || !isToken(r.sub) || r.main == "*" && r.sub != "*" {
		return r, false
	}
	for parameters != "" {
		var key, value string
		if key, value, parameters, ok = cutParameter(parameters); !ok {
			return r, false
		}
		switch {
		case key == "":
		case strings.EqualFold(key, "q"): // what follows are extensions, which RFC 9110 has given up
			r.quality, ok = parseQuality(value)
			return r, ok
		case strings.EqualFold(key, "charset") && isUTF8(unquote(value)):
		default:
			r.parameters = true
		}
	}
	return r, true
}

// exactness tells how exactly the range names an offer, 0 when it does not.
func (r mediaRange) exactness(offer string) int {
	main, sub, _ := strings.Cut(offer, "/")
	switch {
	case r.main == "*":
		return anyType
	case !strings.EqualFold(r.main, main):
		return 0
	case r.sub == "*":
		return anySubtype
	case !strings.EqualFold(r.sub, sub):
		return 0
	case !r.parameters:
		return exactType
	case r.quality > 0:
		return otherVersion
	}
	return 0 // it excludes another version than ours
}

// parseQuality parses a weight into thousandths. More decimals than the three of RFC 9110, and none before the
// point, are common enough to be understood.
func parseQuality(s string) (quality int, ok bool) {
	whole, decimals, point := strings.Cut(s, ".")
	switch {
	case whole == "1":
		quality = maxQuality
	case whole != "0" && (whole != "" || decimals == ""):
		return 0, false
	}
	if !point {
		return quality, true
	}
	scale, some := maxQuality, false
	for i := range len(decimals) {
		if !isDigit(decimals[i]) {
			return 0, false
		}
		scale /= 10
		quality += int(decimals[i]-'0') * scale
		some = some || decimals[i] != '0'
	}
	if quality == 0 && some {
		quality = 1 // a weight too small to be told from 0 is not 0, which would exclude
	}
	return quality, quality <= maxQuality && (whole != "1" || !some)
}
