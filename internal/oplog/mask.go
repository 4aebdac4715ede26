package oplog

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
)

// masked replaces a secret.
const masked = "[MASKED]"

// minSecret is the length of the shortest value that is masked wherever it
// occurs: shorter ones would also mask ordinary words.
const minSecret = 4

// secretName matches the name of a field, flag, or variable with a secret value.
const secretName = `[\w.-]*(?:pass(?:word|wd|phrase)|token|secret|credential|client-key-data|private[_-]?key|api[_-]?key|authorization)[\w.-]*`

var (
	pemBlock = regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]+-----.*?(?:-----END [A-Z0-9 ]+-----|$)`)
	pemTail  = regexp.MustCompile(`(?s)^.*-----END [A-Z0-9 ]+-----`)
	// A quoted value ends at its quote, any other value at the end of the line.
	secretField = regexp.MustCompile(`(?i)(` + secretName + `\\*["']?\s*[:=][ \t]*)("(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^\n]+)`)
	secretFlag  = regexp.MustCompile(`(?i)(--` + secretName + `[ \t]+)("[^"\n]*"|'[^'\n]*'|\S+)`)
	secretBlock = regexp.MustCompile(`(?i)^(\s*(?:- )?)["']?` + secretName + `["']?:\s*(?:[|>][-+0-9]*)?\s*$`)
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
		if quoted := strings.ReplaceAll(s, "'", `'\''`); quoted != s {
			m.values = append(m.values, quoted) // as a shell word
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
		for i+1 < len(lines) && (strings.TrimSpace(lines[i+1]) == "" || indent(lines[i+1]) > len(m[1])) {
			i++
			if strings.TrimSpace(lines[i]) != "" {
				lines[i] = lines[i][:indent(lines[i])] + masked
			}
		}
	}
	return strings.Join(lines, "\n")
}

func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " \t")) }
