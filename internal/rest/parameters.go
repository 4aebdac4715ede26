package rest

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
)

// taking refuses requests whose query has other parameters than the named ones, or one of
// them twice: an answer that ignores what a client asked for is a guess. The endpoints of
// OpenPAI ignore what they do not know, because its clients send it.
func taking(call func(http.ResponseWriter, *http.Request) (any, error), parameters ...string) func(http.ResponseWriter, *http.Request) (any, error) {
	return func(w http.ResponseWriter, req *http.Request) (any, error) {
		if err := checkQuery(req.URL.RawQuery, parameters); err != nil {
			return nil, err
		}
		return call(w, req)
	}
}

func checkQuery(raw string, known []string) error {
	given, err := url.ParseQuery(raw)
	if err != nil {
		return pai.Errorf(pai.CodeInvalid, "", "read the query of the request: %w", err)
	}
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(given)) {
		switch {
		case !slices.Contains(known, name):
			wrong = append(wrong, "unknown parameter "+name)
		case len(given[name]) > 1:
			wrong = append(wrong, "parameter "+name+" more than once")
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	takes := "this request takes no parameters"
	if len(known) > 0 {
		takes = "this request takes " + strings.Join(known, ", ")
	}
	return pai.Errorf(pai.CodeInvalid, "", "%s; %s", strings.Join(wrong, ", "), takes)
}
