package deptest

import (
	"bytes"
	"go/token"
	"regexp"
	"slices"
	"strings"
)

// script checks a file that is no Go source if it is a script.
func (c *writeCheck) script(name string, data []byte) error {
	if !strings.HasSuffix(name, ".sh") && !bytes.HasPrefix(data, []byte("#!")) || c.allowed[name] != "" {
		return nil
	}
	for i, line := range slices.Collect(strings.Lines(string(data))) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue // a comment
		}
		program := programIn(line)
		if program == "" {
			program = clients.FindString(line)
		}
		if program != "" {
			c.problems = append(c.problems, wrong(token.Position{Filename: name, Line: i + 1}, program))
		}
	}
	return nil
}

// clients are programs that send requests. In a script, every use counts: it might ask the
// API. In Go sources their names are also those of Debian packages.
var clients = regexp.MustCompile(`\b(curl|wget)\b`)

var (
	// kubectl finds also placeholders and variables, such as %KUBECTL%.
	kubectl = regexp.MustCompile(`(?i)kubectl`)
	// adviceBefore and namedAfter are around kubectl in a text that runs nothing: advice for an
	// operator, and the prefix of an annotation.
	adviceBefore = regexp.MustCompile(`(: |with |for )$`)
	namedAfter   = regexp.MustCompile(`^\.kubernetes\.io`)
	// inBundle are the paths of the programs in a bundle.
	inBundle = []string{"bin/kubectl", "bin/kubeadm"}

	// kubeadm finds a call, and in its group what it is called with, up to the next command.
	kubeadm = regexp.MustCompile(`(?i)kubeadm[}%]?["']?[ \t]+((?:-|init\b|join\b|reset\b|token\b|upgrade\b|certs\b|config\b|kubeconfig\b)[^;&|\n]*)`)
	// onlyFiles are the calls of kubeadm that print something or write files of a machine.
	onlyFiles = regexp.MustCompile(`^(config print |kubeconfig user |init phase (certs|kubeconfig) |init phase .* --dry-run\b)`)
)

// programIn names the program in a text that can write to the cluster; empty if there is
// none. That is each use of kubectl, and each of kubeadm that does more than print or
// write files. The bare name of either counts: that is how Go code asks for its path.
func programIn(text string) string {
	if slices.Contains(inBundle, text) {
		return ""
	}
	if text == "kubeadm" {
		return text
	}
	for _, at := range kubectl.FindAllStringIndex(text, -1) {
		if !adviceBefore.MatchString(text[:at[0]]) && !namedAfter.MatchString(text[at[1]:]) {
			return "kubectl"
		}
	}
	for _, call := range kubeadm.FindAllStringSubmatch(text, -1) {
		if !onlyFiles.MatchString(call[1]) {
			return "kubeadm"
		}
	}
	return ""
}
