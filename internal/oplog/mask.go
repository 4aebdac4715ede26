package oplog

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// masked replaces a secret.
const masked = "[MASKED]"

// minSecret is the length of the shortest value that is masked wherever it
// occurs: shorter ones would also mask ordinary words.
const minSecret = 4

// secretName matches the name of a field, flag, or variable with a secret value.
const secretName = `[\w.-]*(?:pass(?:word|wd|phrase)|token|secret|credential|client-key-data|private[_-]?key|api[_-]?key|authorization)[\w.-]*`

// quoted matches a string in quotes.
const quoted = `(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*')`

var (
	pemBlock = regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]+-----.*?(?:-----END [A-Z0-9 ]+-----|$)`)
	pemTail  = regexp.MustCompile(`(?s)^.*-----END [A-Z0-9 ]+-----`)
	// A quoted value ends at its quote, or with the shell word that the quote
	// begins; any other value ends with the line.
	secretField = regexp.MustCompile(`(?i)(` + secretName + `\\*["']?\s*[:=][ \t]*)(` + quoted + `(?:` + quoted + `|\\.|[^\s"',;)}\]\\])*|[^\n]+)`)
	secretFlag  = regexp.MustCompile(`(?i)(--` + secretName + `[ \t]+)((?:` + quoted + `|\\.|[^\s"'\\])+)`)
	// The name of a secret whose value, a text or a list, starts on the next line.
	secretBlock = regexp.MustCompile(`(?i)^(\s*(?:- )?)["']?` + secretName + `["']?:\s*(?:[|>][-+0-9]*|[\[{])?\s*$`)
	// Values that are secrets by their form: bearer tokens, JSON web tokens,
	// kubeadm tokens, and passwords in URLs.
	secretForm = []*regexp.Regexp{
		regexp.MustCompile(`(?i)\bbearer[ \t]+[^\s"']+`),
		regexp.MustCompile(`\beyJ[\w-]+\.[\w-]+\.[\w-]*`),
		regexp.MustCompile(`\b[a-z0-9]{6}\.[a-z0-9]{16}\b`),
	}
	urlPassword = regexp.MustCompile(`(://[^\s/:@]*:)[^\s/@]+@`)
)

// Masker replaces secrets in texts.
type Masker struct{ values []string }

// NewMasker returns a masker that also replaces the given values, and their
// base64 encoding, wherever they occur.
func NewMasker(secrets ...string) *Masker {
	m := &Masker{}
	for _, s := range secrets {
		if len(s) < minSecret {
			continue
		}
		m.values = append(m.values, s, base64.StdEncoding.EncodeToString([]byte(s)))
		escaped := strconv.Quote(s)
		for _, form := range []string{strings.ReplaceAll(s, "'", `'\''`), escaped[1 : len(escaped)-1]} { // a shell word, a quoted string
			if form != s {
				m.values = append(m.values, form)
			}
		}
	}
	slices.SortFunc(m.values, func(a, b string) int { return len(b) - len(a) }) // a value can contain another
	return m
}

// Mask replaces the secrets in a text. It masks too much rather than too little.
func (m *Masker) Mask(text string) string {
	for _, v := range m.values {
		text = strings.ReplaceAll(text, v, masked)
	}
	text = pemBlock.ReplaceAllString(text, masked)
	text = pemTail.ReplaceAllString(text, masked) // a block without its beginning
	text = maskBlocks(text)
	text = secretField.ReplaceAllString(text, "${1}"+masked)
	text = secretFlag.ReplaceAllString(text, "${1}"+masked)
	for _, form := range secretForm {
		text = form.ReplaceAllString(text, masked)
	}
	return urlPassword.ReplaceAllString(text, "${1}"+masked+"@")
}

// maskBlocks masks the lines below the name of a secret whose value starts on
// the next line and is indented more, as in YAML.
func maskBlocks(text string) string {
	if !strings.Contains(text, "\n") {
		return text
	}
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		m := secretBlock.FindStringSubmatch(lines[i])
		if m == nil {
			continue
		}
		for i+1 < len(lines) && belongsBelow(lines[i+1], len(m[1])) {
			i++
			if strings.TrimSpace(lines[i]) != "" {
				lines[i] = lines[i][:indent(lines[i])] + masked
			}
		}
	}
	return strings.Join(lines, "\n")
}

// belongsBelow reports whether a line is part of the value of a key with an
// indentation: it is empty, indented more, or an item of a list.
func belongsBelow(line string, key int) bool {
	text := strings.TrimSpace(line)
	return text == "" || indent(line) > key || (indent(line) == key && strings.HasPrefix(text, "- "))
}

func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " \t")) }
