package negotiate

import "strings"

// maxQuality is the weight 1 in thousandths. Weights have three decimals.
const maxQuality = 1000

// These say how exactly a media range names a type. The most exact range that matches decides (RFC
// 9110, section 12.5.1).
const (
	anyType      = iota + 1 // */*
	anySubtype              // type/*
	otherVersion            // type/subtype with parameters that the offer lacks
	exactType               // type/subtype
)

// Accept chooses one of the offered media types by the values of a request's Accept headers. offers
// has at least one type, in lower case and without parameters, the best first. ok is false if none
// is acceptable: HTTP 406.
//
// The highest weight wins. Among equal weights, the offer that the client names more exactly wins,
// and then the earlier offer. Weight 0 excludes a type. An element that is not a media range with a
// weight is ignored. A header with nothing else counts as none: everything is acceptable.
//
// The offers have no parameters. `application/json;charset=utf-8` is application/json. A range with
// other parameters (`application/json;version=2`) names the type too, unless a range without them
// does.
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

// Weight returns the weight of a media type in the values of a request's Accept headers, in
// thousandths. named reports whether the client names the type itself, and not only by a wildcard.
// The type is in lower case and without parameters. Without any range the weight is 0.
func Weight(values []string, offer string) (weight int, named bool) {
	weight, exactness, _ := weigh(values, offer)
	return weight, exactness >= otherVersion
}

// weigh returns the weight of an offer and how exactly it was named. stated reports whether there
// was any range.
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
			case e > 0 && e == exactness: // If named twice, it is acceptable at either weight.
				quality = max(quality, r.quality)
			}
		}
	}
	return quality, exactness, stated
}

// mediaRange is one element of an Accept header.
type mediaRange struct {
	main, sub  string
	parameters bool // It has parameters that narrow it.
	quality    int
}

func parseRange(element string) (mediaRange, bool) {
	name, parameters, _ := cut(element, ';')
	r := mediaRange{quality: maxQuality}
	var ok bool
	if r.main, r.sub, ok = strings.Cut(name, "/"); !ok {
		if name != "*" { // java.net.HttpURLConnection sends it and means */*.
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
		case strings.EqualFold(key, "q"): // Extensions follow, which RFC 9110 has given up.
			r.quality, ok = parseQuality(value)
			return r, ok
		case strings.EqualFold(key, "charset") && isUTF8(unquote(value)):
		default:
			r.parameters = true
		}
	}
	return r, true
}

// exactness returns how exactly the range names an offer, or 0 if it does not name it.
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
	return 0 // It excludes another version.
}

// parseQuality parses a weight into thousandths. RFC 9110 allows three decimals and wants a digit
// before the point. Other forms are common enough to be understood.
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
		quality = 1 // A tiny weight is not 0, which would exclude the type.
	}
	return quality, quality <= maxQuality && (whole != "1" || !some)
}
