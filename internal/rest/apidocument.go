package rest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/rest/apidoc"
)

// style is what the two parts of the API differ in.
type style struct {
	tag, prefix string
	failure     any  // the body of an error
	strict      bool // other parameters than the described ones are refused
}

func paiStyle() style { return style{"PAI", "/api/v2", errorBody{}, true} }

func openPAIStyle() style { return style{"OpenPAI", openPAIPrefix, openPAIError{}, false} }

// apiDocument answers with the description of the API.
func (h *Handler) apiDocument(http.ResponseWriter, *http.Request) (any, error) {
	h.documentOnce.Do(func() { h.document, h.documentErr = json.Marshal(h.describe()) })
	return h.document, h.documentErr
}

// describe makes the description of the API from the tables of endpoints.
func (h *Handler) describe() apidoc.Document {
	d := describer{paths: map[string]apidoc.Path{}, responses: map[string]apidoc.Response{}, schemas: apidoc.Schemas{
		Known: map[reflect.Type]*apidoc.Schema{
			reflect.TypeFor[job.State](): apidoc.OneOf(job.States()...),
		},
		Tagged: taggedSchemas(),
		Loose: func(pkg string) bool {
			return strings.HasPrefix(pkg, "k8s.io/") || pkg == reflect.TypeFor[apidoc.Document]().PkgPath()
		},
		Stored: func(pkg string) bool { return pkg == reflect.TypeFor[pai.Pair]().PkgPath() },
	}}
	for _, e := range h.endpoints() {
		d.add(paiStyle(), e)
	}
	for _, e := range h.openPAIEndpoints() {
		d.add(openPAIStyle(), e)
	}
	return apidoc.Document{
		OpenAPI: apidoc.Version,
		Info: apidoc.Info{Title: "PAI REST API", Version: h.Release, Description: "The API of the PAI REST server. " +
			"Operations with the tag PAI refuse query parameters that they do not have. Those with the tag OpenPAI ignore them, and have the shapes and the error codes of OpenPAI."},
		Tags:  []apidoc.Tag{{Name: "PAI", Description: "What paictl uses."}, {Name: "OpenPAI", Description: "What clients of OpenPAI use."}},
		Paths: d.paths,
		Components: apidoc.Components{Schemas: d.schemas.Named(), Responses: d.responses, SecuritySchemes: map[string]apidoc.SecurityScheme{
			"bearer": {Type: "http", Scheme: "bearer", Description: "The token of a login, of an application, or of paictl."},
			"basic":  {Type: "http", Scheme: "basic", Description: "The name of a user, and an application token of the user as the password."},
		}},
	}
}

// describer collects what a document has.
type describer struct {
	schemas   apidoc.Schemas
	paths     map[string]apidoc.Path
	responses map[string]apidoc.Response
}

func (d *describer) add(s style, e endpoint) {
	path := s.prefix + e.path
	who := ruleOf(e).Who
	o := &apidoc.Operation{
		ID: operationID(e.method, path), Tags: []string{s.tag}, Summary: e.summary, Description: "Allowed: " + string(who) + ".",
		Parameters: parametersOf(e), Body: d.bodyOf(e), Responses: map[string]apidoc.Response{}, Security: securityOf(who),
	}
	if _, none := e.answer.(noAnswer); !none {
		o.Responses[strconv.Itoa(e.status)] = d.answerOf(e)
	}
	for _, status := range failuresOf(s, e) {
		o.Responses[strconv.Itoa(status)] = d.failure(s, status)
	}
	if d.paths[path] == nil {
		d.paths[path] = apidoc.Path{}
	}
	d.paths[path][strings.ToLower(e.method)] = o
}

// ruleOf returns the rule of an endpoint. TestEveryOperationWithEveryRole fails for one
// without a rule.
func ruleOf(e endpoint) identity.Rule {
	rules := identity.Rules()
	i := slices.IndexFunc(rules, func(r identity.Rule) bool { return r.Kind == e.kind && r.Verb == e.verb })
	if i < 0 {
		return identity.Rule{}
	}
	return rules[i]
}

// operationID is a name that clients can give a function.
func operationID(method, path string) string {
	words := strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune("/{}-.", r) })
	for i, w := range words {
		words[i] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.ToLower(method) + strings.Join(words, "")
}

// securityOf are the ways to authenticate. One of them is enough.
func securityOf(who identity.Who) []map[string][]string {
	bearer, basic := map[string][]string{"bearer": {}}, map[string][]string{"basic": {}}
	switch who {
	case identity.Anyone, identity.LinkHolder:
		return []map[string][]string{}
	case identity.UserToken, identity.OwnerToken, identity.AdminUser: // no application token
		return []map[string][]string{bearer}
	default:
		return []map[string][]string{bearer, basic}
	}
}

func parametersOf(e endpoint) []apidoc.Parameter {
	var all []apidoc.Parameter
	add := func(in string, p parameter) {
		shown := apidoc.Parameter{Name: p.name, In: in, Description: p.what, Required: p.required, Schema: p.schema}
		if p.schema.Items != nil {
			shown.Style, shown.Explode = "form", new(false) // values with commas
		}
		all = append(all, shown)
	}
	for part := range strings.SplitSeq(e.path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			add("path", partOfPath(strings.TrimSuffix(name, "}")))
		}
	}
	for _, p := range e.query {
		add("query", p)
	}
	return all
}

func (d *describer) bodyOf(e endpoint) *apidoc.Body {
	if e.body == nil {
		return nil
	}
	if _, isJob := e.body.([]byte); isJob {
		text := apidoc.Text()
		text.MaxLength = new(job.MaxSize)
		return &apidoc.Body{Required: true, Description: fmt.Sprintf("A job file of at most %d bytes.", job.MaxSize),
			Content: map[string]apidoc.Media{"text/yaml": {Schema: text}}}
	}
	media := apidoc.Media{Schema: d.requiring(d.schemas.Request(e.body), e.required)}
	content := map[string]apidoc.Media{"application/json": media}
	if _, isLogin := e.body.(loginBody); isLogin {
		content["application/x-www-form-urlencoded"] = media
	}
	return &apidoc.Body{Required: true, Content: content}
}

// requiring is a schema of an object that must have some properties.
func (d *describer) requiring(s *apidoc.Schema, names []string) *apidoc.Schema {
	if len(names) == 0 {
		return s
	}
	with := *s
	with.Required = names
	return &with
}

func (d *describer) answerOf(e endpoint) apidoc.Response {
	r := apidoc.Response{Description: http.StatusText(e.status), Content: map[string]apidoc.Media{}}
	switch answer := e.answer.(type) {
	case []byte:
		r.Content["text/yaml"] = apidoc.Media{Schema: apidoc.Text()}
	case plainText:
		r.Content["text/plain"] = apidoc.Media{Schema: apidoc.Text()}
	case either:
		one := &apidoc.Schema{}
		for _, form := range answer {
			one.AnyOf = append(one.AnyOf, d.schemas.Answer(form))
		}
		r.Content["application/json"] = apidoc.Media{Schema: one}
	default:
		r.Content["application/json"] = apidoc.Media{Schema: d.schemas.Answer(answer)}
	}
	r.Headers = headersOf(e.headers...)
	return r
}

func headersOf(names ...string) map[string]apidoc.Header {
	headers := map[string]apidoc.Header{}
	for _, name := range names {
		headers[name] = apidoc.Header{Description: headerTexts()[name], Schema: apidoc.Text()}
	}
	return headers
}

// failure returns a reference to the answer to a request that failed.
func (d *describer) failure(s style, status int) apidoc.Response {
	name := s.tag + "-" + strconv.Itoa(status)
	r := apidoc.Response{Description: failureTexts()[status], Content: map[string]apidoc.Media{"application/json": {Schema: d.schemas.Answer(s.failure)}}}
	switch status {
	case http.StatusUnauthorized:
		r.Headers = headersOf("WWW-Authenticate")
	case http.StatusTooManyRequests:
		r.Headers = headersOf("Retry-After")
	case http.StatusServiceUnavailable:
		r.Headers = headersOf("Retry-After", notStartedHeader)
	}
	d.responses[name] = r
	return apidoc.Response{Ref: "#/components/responses/" + name}
}

// failuresOf are the codes of the errors that an endpoint can answer with.
func failuresOf(s style, e endpoint) []int {
	codes := map[int]bool{http.StatusInternalServerError: true, http.StatusServiceUnavailable: true}
	for _, status := range e.failures {
		codes[status] = true
	}
	parameters, who := parametersOf(e), ruleOf(e).Who
	isNumber := func(p apidoc.Parameter) bool { return p.Schema.Type == "integer" }
	codes[http.StatusBadRequest] = s.strict || e.body != nil || e.query != nil || slices.ContainsFunc(parameters, isNumber) ||
		who == identity.Anyone || who == identity.LinkHolder // the body of a stranger must arrive soon
	codes[http.StatusNotFound] = codes[http.StatusNotFound] || slices.ContainsFunc(parameters, func(p apidoc.Parameter) bool { return p.In == "path" })
	codes[http.StatusConflict] = codes[http.StatusConflict] || who != identity.Anyone && e.verb != identity.Read && e.verb != identity.List
	codes[http.StatusUnauthorized] = who != identity.Anyone && who != identity.LinkHolder
	codes[http.StatusForbidden] = who != identity.Anyone && who != identity.AnyToken
	codes[http.StatusTooManyRequests] = codes[http.StatusTooManyRequests] || who != identity.Anyone
	var all []int
	for _, status := range slices.Sorted(maps.Keys(codes)) {
		if codes[status] {
			all = append(all, status)
		}
	}
	return all
}
