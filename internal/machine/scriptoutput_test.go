package machine

import (
	"bytes"
	"strings"
	"testing"
)

// A machine that prints without end takes no more memory than the limit, its command can
// end, and its output does not count as whole.
func TestOutputOfAMachineIsLimited(t *testing.T) {
	t.Parallel()
	o := newScriptOutput("begin", nil)
	chunk := []byte(strings.Repeat("x", 1<<20))
	for n, write := range append([][]byte{[]byte("begin\n")}, bytes.Split(bytes.Repeat(append(chunk, 0), textLimit>>20), []byte{0})...) {
		if got, err := o.Write(write); got != len(write) || err != nil {
			t.Fatalf("write %d: got %d, %v, want all taken", n, got, err)
		}
	}
	if o.text.Len() != textLimit || o.text.more {
		t.Errorf("got %d bytes, more %v, want the limit and no more", o.text.Len(), o.text.more)
	}
	if got, err := o.Write([]byte("y")); got != 1 || err != nil || o.text.Len() != textLimit || !o.text.more {
		t.Errorf("got %d, %v with %d bytes held, want one taken and none held", got, err, o.text.Len())
	}
	h := &sshHost{}
	if out, err := h.result(nil, Command{Script: "yes"}, nil, o, newScriptOutput("begin", nil)); err == nil || !strings.Contains(err.Error(), "more than 64 MiB") || out.Stdout != "" {
		t.Errorf("got %d bytes, %v, want an error", len(out.Stdout), err)
	}
}
