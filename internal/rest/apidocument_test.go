package rest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/golden"
	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/rest/apidoc"
)

// document is the description of the API as the server sends it.
func document(t testing.TB, h *Handler) []byte {
	t.Helper()
	text, err := h.apiDocument(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return text.(json.RawMessage)
}

func describedHandler() *Handler { return &Handler{Jobs: &scripted{}, Release: "v0.11"} }

func TestAPIDocumentStaysTheSame(t *testing.T) {
	t.Parallel()
	var shown bytes.Buffer
	if err := json.Indent(&shown, document(t, describedHandler()), "", "  "); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "testdata/openapi.json", shown.String()+"\n")
}

// The document is one of OpenAPI 3.1, and each of its schemas is one of JSON.
func TestAPIDocumentIsValid(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/openapi-3.1.schema.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var official any
	if err := yaml.Unmarshal(data, &official); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(official)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("openapi.json", parsed); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	check := newAPICheck(t, document(t, describedHandler()))
	if err := schema.Validate(check.document); err != nil {
		t.Error(err)
	}
	schemas := 0
	var compile func(v any, keys ...string)
	compile = func(v any, keys ...string) {
		switch v := v.(type) {
		case map[string]any:
			for key, value := range v {
				at := append(slices.Clone(keys), key)
				if key == "schema" || len(at) == 3 && at[1] == "schemas" {
					schemas++
					if _, err := check.schema(at...); err != nil {
						t.Errorf("%v: %v", at, err)
					}
				} else {
					compile(value, at...)
				}
			}
		case []any:
			for i, value := range v {
				compile(value, append(slices.Clone(keys), strconv.Itoa(i))...)
			}
		}
	}
	compile(check.document["paths"], "paths")
	compile(check.document["components"], "components")
	if schemas < 200 {
		t.Errorf("%d schemas were compiled", schemas)
	}
}

// The document has the routes of the server, but those of probes and of the metrics, and
// the names that are not part of the API.
func TestAPIDocumentHasEveryRoute(t *testing.T) {
	t.Parallel()
	h := describedHandler()
	d := h.describe()
	described := map[string]bool{}
	for path, operations := range d.Paths {
		for method := range operations {
			described[strings.ToUpper(method)+" "+path] = true
		}
	}
	if err := chi.Walk(h.router(), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		switch route {
		case "/healthz", "/readyz", "/metrics", "/api/v2/jobs/", openPAIPrefix, openPAIPrefix + "/*":
			return nil
		}
		if !described[method+" "+route] {
			t.Errorf("%s %s is not described", method, route)
		}
		delete(described, method+" "+route)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for operation := range described {
		t.Errorf("%s is described and does not exist", operation)
	}
}

func TestAPIDocumentDescribesOperations(t *testing.T) {
	t.Parallel()
	ids, sentence := map[string]bool{}, regexp.MustCompile(`^[A-Z].*[^.]$`)
	for path, operations := range describedHandler().describe().Paths {
		for method, o := range operations {
			if !sentence.MatchString(o.Summary) || len(o.Summary) > 80 || !strings.HasPrefix(o.Description, "Allowed: ") || strings.Contains(o.Description, ": .") {
				t.Errorf("%s %s: summary %q, description %q", method, path, o.Summary, o.Description)
			}
			if ids[o.ID] {
				t.Errorf("%s %s: another operation has the ID %s", method, path, o.ID)
			}
			ids[o.ID] = true
			var inPath []string
			for _, p := range o.Parameters {
				if !strings.HasSuffix(p.Description, ".") {
					t.Errorf("%s %s: %s: description %q", method, path, p.Name, p.Description)
				}
				if p.In == "path" {
					inPath = append(inPath, "{"+p.Name+"}")
				}
			}
			if want := pathPart.FindAllString(path, -1); !slices.Equal(inPath, want) {
				t.Errorf("%s %s: got path parameters %v", method, path, inPath)
			}
		}
	}
	d := describedHandler().describe()
	for name, r := range d.Components.Responses {
		if r.Description == "" {
			t.Errorf("%s has no description", name)
		}
		for header, h := range r.Headers {
			if h.Description == "" {
				t.Errorf("%s: %s has no description", name, header)
			}
		}
	}
}

// What the document says about authentication is what the policy does with application
// tokens and guests.
func TestAPIDocumentSecurity(t *testing.T) {
	t.Parallel()
	h := describedHandler()
	d := h.describe()
	for prefix, endpoints := range map[string][]endpoint{"/api/v2": h.endpoints(), openPAIPrefix: h.openPAIEndpoints()} {
		for _, e := range endpoints {
			o := identity.Object{Kind: e.kind, Owner: "boss", VirtualCluster: "default"}
			allows := func(c Caller) bool { return h.Policy.Authorize(c, e.verb, o) == nil }
			want := []map[string][]string{}
			if !allows(Caller{}) {
				want = append(want, map[string][]string{"bearer": {}})
				if allows(Caller{Name: "boss", Admin: true, Application: true}) {
					want = append(want, map[string][]string{"basic": {}})
				}
			}
			if got := d.Paths[prefix+e.path][strings.ToLower(e.method)].Security; !reflect.DeepEqual(got, want) {
				t.Errorf("%s %s%s: got %v, want %v", e.method, prefix, e.path, got, want)
			}
		}
	}
}

// Everyone can read the document, which is that of this release.
func TestAPIDocumentIsServed(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default")
	for range 2 {
		got := answer[apidoc.Document](t, w, http.MethodGet, "/api/v2/openapi.json", "", "")
		if got.OpenAPI != apidoc.Version || got.Info.Version != "v0.11" || got.Paths["/api/v2/openapi.json"]["get"] == nil {
			t.Errorf("got %s of %s with %d paths", got.OpenAPI, got.Info.Version, len(got.Paths))
		}
	}
}
