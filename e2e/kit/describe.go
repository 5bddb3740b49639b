package kit

import "strings"

// DocumentPath is where the handlers of Described sites have their OpenAPI document.
const DocumentPath = "/openapi.json"

const describedBlock = "openapi {\n\t\t\tdocs off\n\t\t\tdescriptors off\n\t\t\trpc on\n\t\t}\n"

// Described adds the option `openapi` to each handler of a site, with a document that has all
// methods, and without its other paths. So nothing else of the site changes.
func Described(site string) string {
	var b strings.Builder
	for line := range strings.Lines(site) {
		text := strings.TrimSpace(line)
		switch {
		case text != "grpc_gateway" && !strings.HasPrefix(text, "grpc_gateway "):
			b.WriteString(line)
		case strings.HasSuffix(text, "{"):
			b.WriteString(line + "\t\t" + describedBlock)
		default:
			b.WriteString("\t" + text + " {\n\t\t" + describedBlock + "\t}\n")
		}
	}
	return b.String()
}
