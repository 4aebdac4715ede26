package inspect_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/inspect"
)

// answer is an answer with its token.
func answer(t rapid.TB, token string, r inspect.Report) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := inspect.Answer(strings.NewReader(`{"token":"`+token+`"}`), &out, func(inspect.Request) inspect.Report { return r }); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Whatever a login shell prints around an answer does not reach it, and a part of
// an answer is none.
func TestAnswerIsWholeOrAnError(t *testing.T) {
	t.Parallel()
	report := inspect.Report{Program: "abc", Foreign: []string{"/opt/pai/x\n y"}}
	rapid.Check(t, func(t *rapid.T) {
		out := answer(t, "TOKEN", report)
		noise := rapid.SampledFrom([]string{"", "Welcome!\n", "+ exec /opt/pai/helper/x\n", "{}", "\nTOKEN2 3 abc\n{}\n", "TOKEN 1 x"})
		whole := append([]byte(noise.Draw(t, "before")), append(bytes.Clone(out), noise.Draw(t, "after")...)...)
		got, err := inspect.ReadAnswer(whole, "TOKEN")
		if err != nil || !reflect.DeepEqual(got, report) {
			t.Fatalf("got %+v, %v from %q, want %+v", got, err, whole, report)
		}
		torn := out[:rapid.IntRange(0, len(out)-1).Draw(t, "torn")]
		if got, err := inspect.ReadAnswer(torn, "TOKEN"); err == nil {
			t.Fatalf("got %+v from %q, want an error", got, torn)
		}
		at := rapid.IntRange(0, len(out)-2).Draw(t, "at")
		damaged := bytes.Clone(out)
		damaged[at] ^= 1 << rapid.IntRange(0, 6).Draw(t, "bit")
		if got, err := inspect.ReadAnswer(damaged, "TOKEN"); err == nil {
			t.Fatalf("got %+v from %q, want an error", got, damaged)
		}
	})
	if got, err := inspect.ReadAnswer(answer(t, "OTHER", report), "TOKEN"); err == nil {
		t.Errorf("got %+v from the answer to another request, want an error", got)
	}
	for _, out := range []string{"", "\nTOKEN ", "\nTOKEN -1 x\n{}\n", "\nTOKEN 9999999999999999999 x\n{}\n", "\nTOKEN 0 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n\n"} {
		if got, err := inspect.ReadAnswer([]byte(out), "TOKEN"); err == nil {
			t.Errorf("got %+v from %q, want an error", got, out)
		}
	}
}

func TestAnswerRefusesBadRequests(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]string{
		"empty": "", "no JSON": "hello", "no token": `{"parts":["roles"]}`, "a token that is no word": `{"token":"A B"}`,
		"too long": `{"token":"` + strings.Repeat("A", 2<<20) + `"}`,
	} {
		var out bytes.Buffer
		err := inspect.Answer(strings.NewReader(request), &out, func(inspect.Request) inspect.Report { return inspect.Report{} })
		if err == nil || out.Len() > 0 {
			t.Errorf("%s: got %v and output %q, want an error and no output", name, err, out.String())
		}
	}
}
