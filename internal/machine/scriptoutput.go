package machine

import (
	"bytes"
	"io"
)

// scriptOutput is one output of a script. What comes before the line that begins
// it is of sshd or of a login shell: a greeting, a warning of its files.
type scriptOutput struct {
	text   limitedText // of the script, without to
	to     io.Writer   // receives the text at once instead; it can be nil
	begin  []byte
	began  bool
	before []byte // the end of what came before
}

// beforeLimit is how many bytes before the script are kept.
const beforeLimit = 4 << 10

// textLimit is how much of the output of one command is held. The largest that PAI reads
// is the report of a machine, which is a hundred times smaller.
const textLimit = 64 << 20

// limitedText holds the beginning of a text, and whether there was more. It takes all: a
// script whose output is not read would wait for ever.
type limitedText struct {
	bytes.Buffer
	more bool
}

func (t *limitedText) Write(p []byte) (int, error) {
	held := p[:min(len(p), textLimit-t.Len())]
	t.more = t.more || len(held) < len(p)
	_, err := t.Buffer.Write(held)
	return len(p), err
}

func newScriptOutput(begin string, to io.Writer) *scriptOutput {
	o := &scriptOutput{begin: []byte(begin + "\n"), to: to}
	if to == nil {
		o.to = &o.text
	}
	return o
}

func (o *scriptOutput) Write(p []byte) (int, error) {
	if o.began {
		return o.to.Write(p)
	}
	o.before = append(o.before, p...)
	if at := bytes.Index(o.before, o.begin); at >= 0 {
		o.began = true
		rest := o.before[at+len(o.begin):]
		o.before = o.before[:at]
		if len(rest) > 0 {
			if _, err := o.to.Write(rest); err != nil {
				return 0, err
			}
		}
	}
	o.before = o.before[max(0, len(o.before)-beforeLimit):]
	return len(p), nil
}
