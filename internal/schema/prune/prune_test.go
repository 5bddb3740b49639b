package prune

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// compile links files of one schema. It gives them names as "name: text".
func compile(t testing.TB, files map[string]string) *protoregistry.Files {
	t.Helper()
	c := protocompile.Compiler{
		SourceInfoMode: protocompile.SourceInfoStandard,
		Resolver: protocompile.WithStandardImports(protocompile.ResolverFunc(func(name string) (protocompile.SearchResult, error) {
			if text, ok := files[name]; ok {
				return protocompile.SearchResult{Source: bytes.NewReader([]byte(text))}, nil
			}
			fd, err := protoregistry.GlobalFiles.FindFileByPath(name)
			return protocompile.SearchResult{Desc: fd}, err
		})),
	}
	set := &descriptorpb.FileDescriptorSet{}
	seen := map[string]bool{}
	var add func(fd protoreflect.FileDescriptor)
	add = func(fd protoreflect.FileDescriptor) {
		if seen[fd.Path()] {
			return
		}
		seen[fd.Path()] = true
		for i := range fd.Imports().Len() {
			add(fd.Imports().Get(i).FileDescriptor)
		}
		// By way of the wire, as descriptors of services come.
		raw, err := proto.Marshal(protodesc.ToFileDescriptorProto(fd))
		if err != nil {
			t.Fatal(err)
		}
		p := &descriptorpb.FileDescriptorProto{}
		if err := proto.Unmarshal(raw, p); err != nil {
			t.Fatal(err)
		}
		set.File = append(set.File, p)
	}
	for name := range files {
		compiled, err := c.Compile(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		add(compiled[0])
	}
	linked, err := protodesc.NewFiles(set)
	if err != nil {
		t.Fatal(err)
	}
	return linked
}

// methods finds methods by "package.Service.Method".
func methods(t testing.TB, files *protoregistry.Files, names ...string) []protoreflect.MethodDescriptor {
	t.Helper()
	var list []protoreflect.MethodDescriptor
	for _, name := range names {
		d, err := files.FindDescriptorByName(protoreflect.FullName(name))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		list = append(list, d.(protoreflect.MethodDescriptor))
	}
	return list
}

// link fails the test if the files are not a valid set, each after its imports.
func link(t testing.TB, files []*descriptorpb.FileDescriptorProto) *protoregistry.Files {
	t.Helper()
	seen := map[string]bool{}
	for _, fd := range files {
		for _, dep := range fd.GetDependency() {
			if !seen[dep] {
				t.Errorf("%s comes before %s, which it imports", fd.GetName(), dep)
			}
		}
		seen[fd.GetName()] = true
	}
	linked, err := protodesc.NewFiles(&descriptorpb.FileDescriptorSet{File: files})
	if err != nil {
		t.Fatalf("the files cannot be linked: %v", err)
	}
	return linked
}

// declared lists the full names of everything in the files but fields, oneofs and enum values,
// sorted. Those of the common files are left out.
func declared(files *protoregistry.Files) []string {
	var names []string
	var in func(d declares)
	in = func(d declares) {
		for i := range d.Messages().Len() {
			if md := d.Messages().Get(i); !md.IsMapEntry() {
				names = append(names, string(md.FullName()))
				in(md)
			}
		}
		for i := range d.Enums().Len() {
			names = append(names, string(d.Enums().Get(i).FullName()))
		}
		for i := range d.Extensions().Len() {
			names = append(names, string(d.Extensions().Get(i).FullName()))
		}
	}
	files.RangeFiles(func(fd protoreflect.FileDescriptor) bool {
		if isCommon(fd) {
			return true
		}
		in(fd)
		for i := range fd.Services().Len() {
			sd := fd.Services().Get(i)
			names = append(names, string(sd.FullName()))
			for j := range sd.Methods().Len() {
				names = append(names, string(sd.Methods().Get(j).FullName()))
			}
		}
		return true
	})
	slices.Sort(names)
	return names
}

func paths(files []*descriptorpb.FileDescriptorProto) []string {
	var list []string
	for _, fd := range files {
		list = append(list, fd.GetName())
	}
	slices.Sort(list)
	return list
}

func find(t testing.TB, files []*descriptorpb.FileDescriptorProto, path string) *descriptorpb.FileDescriptorProto {
	t.Helper()
	for _, fd := range files {
		if fd.GetName() == path {
			return fd
		}
	}
	t.Fatalf("there is no %s among %q", path, paths(files))
	return nil
}

// shop has a service for everybody and one for the staff.
var shop = map[string]string{
	"shop/service.proto": `syntax = "proto3"; package shop;
import "shop/types.proto"; import "shop/staff.proto"; import "shop/options.proto"; import "shop/errors.proto";
import "google/api/annotations.proto"; import "google/protobuf/duration.proto"; import "google/protobuf/timestamp.proto";
// About orders.
message GetOrder { string id = 1; google.protobuf.Timestamp at = 2; }
// About the till.
message EmptyTill { shop.Drawer drawer = 1; google.protobuf.Duration wait = 2; }
// Everybody's.
service Shop {
  // Empties the till.
  rpc EmptyTheTill(EmptyTill) returns (Receipt) { option (shop.secret) = { level: LEVEL_HIGH }; }
  // Gets an order.
  rpc GetAnOrder(GetOrder) returns (Order) { option (google.api.http) = { get: "/orders/{id}" }; option (shop.price) = 5; }
}
// The staff's.
service Staff { rpc FireSomebody(Firing) returns (Firing); }`,
	"shop/types.proto": `syntax = "proto3"; package shop;
// An order.
message Order { map<string, Item> items = 1; oneof how { Kind kind = 2; Receipt receipt = 3; } Payroll.Currency currency = 4; }
message Item { Order of = 1; }
message Receipt { int64 cents = 1; }
enum Kind { KIND_UNSPECIFIED = 0; }
// Nobody's business.
message Payroll { int64 salary_of_the_boss = 1; enum Currency { CURRENCY_UNSPECIFIED = 0; } message Bonus { int64 cents = 1; } }
message Audit { Firing firing = 1; message AuditLine {} }
message Firing { Payroll payroll = 1; }`,
	"shop/staff.proto":  `syntax = "proto3"; package shop; message Drawer { int32 n = 1; }`,
	"shop/errors.proto": `syntax = "proto3"; package shop; message OutOfStock { string item = 1; }`,
	"shop/options.proto": `syntax = "proto2"; package shop; import public "google/protobuf/descriptor.proto"; import "shop/secrets.proto"; import "shop/types.proto";
extend google.protobuf.MethodOptions { optional int32 price = 50001; optional Secret secret = 50002; optional int32 unused = 50003; }`,
	"shop/secrets.proto": `syntax = "proto2"; package shop; message Secret { optional Level level = 1; } enum Level { LEVEL_LOW = 0; LEVEL_HIGH = 1; }`,
}

func TestWhatIsHiddenIsGone(t *testing.T) {
	all := compile(t, shop)
	files := Files(Input{Schema: all, Methods: methods(t, all, "shop.Shop.GetAnOrder")})
	want := []string{
		"shop.GetOrder", "shop.Item", "shop.Kind", "shop.Order", "shop.OutOfStock", "shop.Payroll", "shop.Payroll.Currency",
		"shop.Receipt", "shop.Shop", "shop.Shop.GetAnOrder", "shop.price",
	}
	linked := link(t, files)
	if got := declared(linked); !slices.Equal(got, want) {
		t.Errorf("declared:\n%q, want\n%q", got, want)
	}
	raw := marshal(&descriptorpb.FileDescriptorSet{File: files})
	for _, hidden := range []string{
		"EmptyTill", "EmptyTheTill", "till", "Drawer", "Staff", "staff", "Fire", "Firing", "Bonus", "salary", "Nobody", "Audit",
		"Secret", "secret", "duration.proto",
	} {
		if bytes.Contains(raw, []byte(hidden)) {
			t.Errorf("%q can be found in the files", hidden)
		}
	}
	service := find(t, files, "shop/service.proto")
	if want := []string{
		"shop/types.proto", "shop/options.proto", "shop/errors.proto", "google/api/annotations.proto", "google/protobuf/timestamp.proto",
	}; !slices.Equal(service.GetDependency(), want) {
		t.Errorf("imports %q, want %q", service.GetDependency(), want)
	}
	if options := find(t, files, "shop/options.proto"); !slices.Equal(options.GetDependency(), []string{"google/protobuf/descriptor.proto", "shop/types.proto"}) ||
		!slices.Equal(options.GetPublicDependency(), []int32{0}) {
		t.Errorf("the option's file imports %q, public %v", options.GetDependency(), options.GetPublicDependency())
	}
	options := service.GetService()[0].GetMethod()[0].GetOptions()
	if rule, ok := proto.GetExtension(options, annotations.E_Http).(*annotations.HttpRule); !ok || rule.GetGet() != "/orders/{id}" {
		t.Errorf("the HTTP rule is lost: %v", options)
	}
	d, err := linked.FindDescriptorByName("shop.Payroll")
	if err != nil || d.(protoreflect.MessageDescriptor).Fields().Len() != 0 {
		t.Errorf("a hidden message that something visible is nested in has fields: %v, %v", d, err)
	}
	if features := d.Options().(*descriptorpb.MessageOptions).GetFeatures(); features.GetJsonFormat() != descriptorpb.FeatureSet_JSON_FORMAT_UNKNOWN {
		t.Errorf("it has features that nobody gave it: %v", features)
	}
}

func TestComments(t *testing.T) {
	all := compile(t, shop)
	linked := link(t, Files(Input{Schema: all, Methods: methods(t, all, "shop.Shop.GetAnOrder")}))
	for name, want := range map[protoreflect.FullName]string{
		"shop.GetOrder": "About orders.", "shop.Shop": "Everybody's.", "shop.Shop.GetAnOrder": "Gets an order.", "shop.Order": "An order.", "shop.Payroll": "",
	} {
		d, err := linked.FindDescriptorByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(d.ParentFile().SourceLocations().ByDescriptor(d).LeadingComments); got != want {
			t.Errorf("%s: comment %q, want %q", name, got, want)
		}
	}
}

func TestNothingHiddenChangesNothing(t *testing.T) {
	all := compile(t, shop)
	files := Files(Input{Schema: all, Methods: methods(t, all, "shop.Shop.GetAnOrder", "shop.Shop.EmptyTheTill", "shop.Staff.FireSomebody")})
	for _, fd := range files {
		original, err := all.FindFileByPath(fd.GetName())
		if err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(fd, protodesc.ToFileDescriptorProto(original)) {
			t.Errorf("%s has changed", fd.GetName())
		}
	}
	if len(files) != all.NumFiles() {
		t.Errorf("%d files %q, want %d", len(files), paths(files), all.NumFiles())
	}
}

func TestSpecialCases(t *testing.T) {
	for _, tc := range []struct {
		name    string
		files   map[string]string
		visible []string
		want    []string // declared
		imports map[string][]string
	}{
		{
			name: "an extension of a visible message stays, with its types",
			files: map[string]string{
				"a.proto": `syntax = "proto2"; package a; import "x.proto"; message M { extensions 100 to 200; }
					service S { rpc Shown(M) returns (M); rpc Not(x.ForHidden) returns (M); }`,
				"x.proto": `syntax = "proto2"; package x; import "m.proto"; message ForHidden {}`,
				"m.proto": `syntax = "proto2"; package m;`,
			},
			visible: []string{"a.S.Shown"},
			want:    []string{"a.M", "a.S", "a.S.Shown"},
			imports: map[string][]string{"a.proto": nil},
		},
		{
			name: "of the extensions in a file, those of hidden messages go",
			files: map[string]string{
				"base.proto": `syntax = "proto2"; package b; message M { extensions 100 to 200; } message H { extensions 100 to 200; }`,
				"x.proto":    `syntax = "proto2"; package x; import "base.proto"; extend b.M { optional V m = 100; } extend b.H { optional W h = 100; } message V {} message W {}`,
				"s.proto":    `syntax = "proto2"; package s; import "base.proto"; import "x.proto"; service S { rpc Shown(b.M) returns (b.M); rpc Not(b.H) returns (x.W); }`,
			},
			visible: []string{"s.S.Shown"},
			want:    []string{"b.M", "s.S", "s.S.Shown", "x.V", "x.m"},
			imports: map[string][]string{"s.proto": {"base.proto"}},
		},
		{
			name: "what comes through the public import of a file that is gone is imported directly",
			files: map[string]string{
				"all.proto":     `syntax = "proto3"; package p; import public "shown.proto"; import public "not.proto"; message OnlyHidden {}`,
				"shown.proto":   `syntax = "proto3"; package p; message Shown {}`,
				"not.proto":     `syntax = "proto3"; package p; message Not {}`,
				"service.proto": `syntax = "proto3"; package p; import "all.proto"; service S { rpc Do(Shown) returns (Shown); rpc Hide(Not) returns (OnlyHidden); }`,
			},
			visible: []string{"p.S.Do"},
			want:    []string{"p.S", "p.S.Do", "p.Shown"},
			imports: map[string][]string{"service.proto": {"shown.proto"}},
		},
		{
			name: "a file of public imports stays, without those that are gone",
			files: map[string]string{
				"all.proto":     `syntax = "proto3"; package p; import public "not.proto"; import public "shown.proto";`,
				"shown.proto":   `syntax = "proto3"; package p; message Shown {}`,
				"not.proto":     `syntax = "proto3"; package p; message Not {}`,
				"service.proto": `syntax = "proto3"; package p; import "all.proto"; service S { rpc Do(Shown) returns (Shown); rpc Hide(Not) returns (Shown); }`,
			},
			visible: []string{"p.S.Do"},
			want:    []string{"p.S", "p.S.Do", "p.Shown"},
			imports: map[string][]string{"service.proto": {"all.proto"}, "all.proto": {"shown.proto"}},
		},
		{
			name: "what only a service in a file that nobody imports uses is hidden",
			files: map[string]string{
				"types.proto": `syntax = "proto3"; package s; message Shown {} message Not {} message Unused {}`,
				"admin.proto": `syntax = "proto3"; package s; import "types.proto"; service Admin { rpc Hide(Not) returns (Not); }`,
				"s.proto":     `syntax = "proto3"; package s; import "types.proto"; service S { rpc Do(Shown) returns (Shown); }`,
			},
			visible: []string{"s.S.Do"},
			want:    []string{"s.S", "s.S.Do", "s.Shown"},
		},
		{
			name: "an extension in a file that no service imports can be in an answer",
			files: map[string]string{
				"m.proto": `syntax = "proto2"; package m; message M { extensions 100 to 200; } service S { rpc Do(M) returns (M); rpc Hide(H) returns (H); } message H {}`,
				"x.proto": `syntax = "proto2"; package m; import "m.proto"; extend M { optional V v = 100; } message V {}`,
			},
			visible: []string{"m.S.Do"},
			want:    []string{"m.M", "m.S", "m.S.Do", "m.V", "m.v"},
		},
		{
			name: "the services of imported files are not shown",
			files: map[string]string{
				"lib.proto":     `syntax = "proto3"; package lib; message M {} message Own {} service Lib { rpc Run(Own) returns (M); }`,
				"service.proto": `syntax = "proto3"; package s; import "lib.proto"; service S { rpc Do(lib.M) returns (lib.M); }`,
			},
			visible: []string{"s.S.Do"},
			want:    []string{"lib.M", "s.S", "s.S.Do"},
		},
		{
			name: "types that are used only in options stay with these options",
			files: map[string]string{
				"o.proto": `syntax = "proto2"; package o; import "google/protobuf/descriptor.proto";
					message Rule { optional In in = 1; extensions 1000; } message In {} message Deep {}
					extend Rule { optional Deep deep = 1000; } extend google.protobuf.FieldOptions { optional Rule rule = 50000; }`,
				"s.proto": `syntax = "proto2"; package s; import "o.proto";
					message M { optional int32 f = 1 [(o.rule) = { in: {} [o.deep]: {} }]; } message H {}
					service S { rpc Do(M) returns (M); rpc Hide(H) returns (H); }`,
			},
			visible: []string{"s.S.Do"},
			want:    []string{"o.Deep", "o.In", "o.Rule", "o.deep", "o.rule", "s.M", "s.S", "s.S.Do"},
			imports: map[string][]string{"s.proto": {"o.proto"}},
		},
		{
			name: "the results of a long-running operation are named in an option",
			files: map[string]string{
				"o.proto": `syntax = "proto2"; package o; import "google/protobuf/descriptor.proto";
					message Info { optional string response_type = 1; optional string metadata_type = 2; }
					extend google.protobuf.MethodOptions { optional Info operation_info = 1049; }`,
				"s.proto": `syntax = "proto2"; package s; import "o.proto"; message M {} message Result {} message Meta {} message Not {} message Secret {}
					service S { rpc Do(M) returns (M) { option (o.operation_info) = { response_type: "Result" metadata_type: "s.Meta" }; }
						rpc Hide(Not) returns (Not) { option (o.operation_info) = { response_type: "Secret" }; } }`,
			},
			visible: []string{"s.S.Do"},
			want:    []string{"o.Info", "o.operation_info", "s.M", "s.Meta", "s.Result", "s.S", "s.S.Do"},
		},
		{
			name: "features of a hidden message hold for what is nested in it",
			files: map[string]string{
				"s.proto": `edition = "2023"; package s;
					message Outer { option features.json_format = LEGACY_BEST_EFFORT; option deprecated = true; int32 secret = 1; message Inner { int32 n = 1; } }
					service S { rpc Do(Outer.Inner) returns (Outer.Inner); rpc Hide(Outer) returns (Outer); }`,
			},
			visible: []string{"s.S.Do"},
			want:    []string{"s.Outer", "s.Outer.Inner", "s.S", "s.S.Do"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			all := compile(t, tc.files)
			files := Files(Input{Schema: all, Methods: methods(t, all, tc.visible...)})
			linked := link(t, files)
			if got := declared(linked); !slices.Equal(got, tc.want) {
				t.Errorf("declared %q, want %q", got, tc.want)
			}
			for path, want := range tc.imports {
				if got := find(t, files, path).GetDependency(); !slices.Equal(got, want) {
					t.Errorf("%s imports %q, want %q", path, got, want)
				}
			}
			wantSameMessages(t, all, linked, methods(t, all, tc.visible...))
		})
	}
}

func TestMerging(t *testing.T) {
	shared := `syntax = "proto3"; package shared; message One {} message Two {}`
	first := compile(t, map[string]string{
		"shared.proto":  shared,
		"service.proto": `syntax = "proto3"; package alpha; import "shared.proto"; message Req {} service Alpha { rpc Do(Req) returns (shared.One); }`,
		"user.proto":    `syntax = "proto3"; package user; import "service.proto"; message U { alpha.Req req = 1; } service Users { rpc Get(U) returns (U); }`,
	})
	second := compile(t, map[string]string{
		"shared.proto":  shared,
		"service.proto": `syntax = "proto3"; package beta; import "shared.proto"; message Req {} service Beta { rpc Do(Req) returns (shared.Two); }`,
		"other.proto":   `syntax = "proto3"; package other; import "service.proto"; message O { beta.Req req = 1; } service Others { rpc Get(O) returns (O); }`,
	})
	third := compile(t, map[string]string{
		"service.proto": `syntax = "proto3"; package beta; message Third {} service Gamma { rpc Do(Third) returns (Third); }`,
	})
	files := Files(
		Input{Schema: first, Methods: methods(t, first, "alpha.Alpha.Do", "user.Users.Get")},
		Input{Schema: second, Methods: methods(t, second, "beta.Beta.Do", "other.Others.Get")},
		Input{Schema: third, Methods: methods(t, third, "beta.Gamma.Do")},
	)
	link(t, files)
	want := []string{"beta.2/service.proto", "beta/service.proto", "other.proto", "service.proto", "shared.proto", "user.proto"}
	if got := paths(files); !slices.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}
	for path, want := range map[string]string{
		"user.proto": "service.proto", "other.proto": "beta/service.proto", "beta/service.proto": "shared.proto",
	} {
		if got := find(t, files, path).GetDependency(); !slices.Equal(got, []string{want}) {
			t.Errorf("%s imports %q, want %s", path, got, want)
		}
	}
	if got := len(find(t, files, "shared.proto").GetMessageType()); got != 2 {
		t.Errorf("the shared file has %d messages, want those of both", got)
	}
}

// A hidden method is the only difference between two releases of a file.
func TestFilesThatDifferInWhatIsHiddenAreOne(t *testing.T) {
	text := `syntax = "proto3"; package a; message M {} service S { rpc Do(M) returns (M); `
	first := compile(t, map[string]string{"a.proto": text + `}`})
	second := compile(t, map[string]string{"a.proto": text + `rpc Hide(M) returns (M); }`})
	files := Files(Input{Schema: first, Methods: methods(t, first, "a.S.Do")}, Input{Schema: second, Methods: methods(t, second, "a.S.Do")})
	if len(files) != 1 {
		t.Errorf("files %q, want one", paths(files))
	}
}
