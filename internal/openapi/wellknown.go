package openapi

import "google.golang.org/protobuf/reflect/protoreflect"

// durationPattern is how ProtoJSON writes a google.protobuf.Duration.
const durationPattern = `^-?[0-9]+(\.[0-9]{1,9})?s$`

// wellKnown is the schema of a message that has a JSON form of its own, or nil.
func (s *Schemas) wellKnown(md protoreflect.MessageDescriptor, dir Direction) *object {
	switch md.FullName() {
	case "google.protobuf.Timestamp":
		return newObject("type", "string", "format", "date-time")
	case "google.protobuf.Duration":
		return newObject("type", "string", "pattern", durationPattern, "examples", list{"1.5s"})
	case "google.protobuf.FieldMask":
		return newObject("type", "string", "description", "Paths of fields, separated by commas.", "examples", list{"name,address.city"})
	case "google.protobuf.Struct":
		return newObject("type", "object", "additionalProperties", true)
	case "google.protobuf.Value":
		return newObject("description", "Any JSON value.")
	case "google.protobuf.ListValue":
		return newObject("type", "array", "items", newObject())
	case "google.protobuf.Empty":
		return newObject("type", "object")
	case "google.protobuf.Any":
		return newObject("type", "object",
			"description", "A message of the type that `@type` names, with its fields. A type with a JSON form of its own is in `value`.",
			"properties", newObject("@type", newObject("type", "string", "examples", list{"type.googleapis.com/google.protobuf.Duration"})),
			"additionalProperties", true)
	case "google.protobuf.DoubleValue", "google.protobuf.FloatValue", "google.protobuf.Int64Value", "google.protobuf.UInt64Value",
		"google.protobuf.Int32Value", "google.protobuf.UInt32Value", "google.protobuf.BoolValue", "google.protobuf.StringValue",
		"google.protobuf.BytesValue":
		if fd := md.Fields().ByNumber(1); fd != nil {
			return scalar(fd.Kind(), dir)
		}
	}
	return nil
}

// wellKnownDiffers reports whether such a message has more forms in requests than in answers.
func wellKnownDiffers(md protoreflect.MessageDescriptor) bool {
	switch md.FullName() {
	case "google.protobuf.DoubleValue", "google.protobuf.FloatValue", "google.protobuf.Int64Value", "google.protobuf.UInt64Value",
		"google.protobuf.Int32Value", "google.protobuf.UInt32Value", "google.protobuf.BytesValue":
		return true
	default:
		return false
	}
}
