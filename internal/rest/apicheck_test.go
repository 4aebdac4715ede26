package rest

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// apiCheck compares answers with the description of the API. Objects must not have other
// fields than the description.
type apiCheck struct {
	document map[string]any
	compiler *jsonschema.Compiler
	mu       sync.Mutex
	schemas  map[string]*jsonschema.Schema
}

func newAPICheck(t testing.TB, document []byte) *apiCheck {
	t.Helper()
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	closeObjects(parsed)
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource("api.json", parsed); err != nil {
		t.Fatal(err)
	}
	return &apiCheck{document: parsed.(map[string]any), compiler: c, schemas: map[string]*jsonschema.Schema{}}
}

// closeObjects makes the schemas of objects with known fields refuse others.
func closeObjects(v any) {
	switch v := v.(type) {
	case map[string]any:
		if _, known := v["properties"]; known && v["type"] == "object" {
			v["additionalProperties"] = false
		}
		for _, value := range v {
			closeObjects(value)
		}
	case []any:
		for _, value := range v {
			closeObjects(value)
		}
	}
}

// at returns a part of the document; nil if it does not exist.
func (c *apiCheck) at(keys ...string) map[string]any {
	var here any = c.document
	for _, key := range keys {
		object, _ := here.(map[string]any)
		here = object[key]
	}
	object, _ := here.(map[string]any)
	return object
}

// schema compiles the schema at some keys of the document.
func (c *apiCheck) schema(keys ...string) (*jsonschema.Schema, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pointer := "api.json#"
	for _, key := range keys {
		pointer += "/" + url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(key))
	}
	if c.schemas[pointer] == nil {
		s, err := c.compiler.Compile(pointer)
		if err != nil {
			return nil, err
		}
		c.schemas[pointer] = s
	}
	return c.schemas[pointer], nil
}

// template returns the path of the document for the path of a request; empty if there is none.
func (c *apiCheck) template(path string) string {
	asked := strings.Split(strings.TrimSuffix(path, "/"), "/")
	best, literal := "", -1
	for template := range c.at("paths") {
		parts, same := strings.Split(template, "/"), 0
		fits := len(parts) == len(asked)
		for i := 0; fits && i < len(parts); i++ {
			switch {
			case parts[i] == asked[i]:
				same++
			case !strings.HasPrefix(parts[i], "{"):
				fits = false
			}
		}
		if fits && same > literal {
			best, literal = template, same
		}
	}
	return best
}

// answer returns an error if the document does not describe an answer. The server answers
// requests that the document does not have, too: those are not checked.
func (c *apiCheck) answer(method, path string, status int, header http.Header, body []byte) error {
	template := c.template(path)
	if c.at("paths", template, strings.ToLower(method)) == nil {
		return nil
	}
	keys := []string{"paths", template, strings.ToLower(method), "responses", strconv.Itoa(status)}
	response := c.at(keys...)
	if response == nil {
		return fmt.Errorf("%s %s: the status %d is not described", method, template, status)
	}
	if ref, ok := response["$ref"].(string); ok {
		keys = strings.Split(strings.TrimPrefix(ref, "#/"), "/")
		response = c.at(keys...)
	}
	described, _ := response["headers"].(map[string]any)
	for _, name := range []string{"Location", incompleteHeader, notStartedHeader, missingHeader, attemptHeader, "Retry-After", "WWW-Authenticate"} {
		if _, ok := described[name]; !ok && header.Get(name) != "" {
			return fmt.Errorf("%s %s: %d: the header %s is not described", method, template, status, name)
		}
	}
	kind, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	content, _ := response["content"].(map[string]any)
	if _, ok := content[kind]; err != nil || !ok {
		return fmt.Errorf("%s %s: %d: the media type %q is not described: %w", method, template, status, kind, err)
	}
	if kind != "application/json" {
		return nil
	}
	schema, err := c.schema(append(slices.Clone(keys), "content", kind, "schema")...)
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err == nil {
		err = schema.Validate(value)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %d: %w\n%.2000s", method, template, status, err, body)
	}
	return nil
}

// checked reports an answer that the description of the API does not have, and returns the
// answer with its body.
func (c *apiCheck) checked(t testing.TB, method, path string, resp *http.Response) *http.Response {
	t.Helper()
	var body []byte
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		var err error
		body, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		resp.Body = io.NopCloser(bytes.NewReader(body))
	}
	path, _, _ = strings.Cut(path, "?")
	if err := c.answer(method, path, resp.StatusCode, resp.Header, body); err != nil {
		t.Error(err)
	}
	return resp
}
