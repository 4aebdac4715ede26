package rest

import (
	"bytes"
	"encoding/json"
	"testing"

	"pai.dev/pai/internal/golden"
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

func described(t testing.TB) []byte {
	t.Helper()
	return document(t, &Handler{Jobs: &scripted{}, Release: "v0.11"})
}

func TestAPIDocumentStaysTheSame(t *testing.T) {
	t.Parallel()
	var shown bytes.Buffer
	if err := json.Indent(&shown, described(t), "", "  "); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "testdata/openapi.json", shown.String()+"\n")
}
