package job

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"

	"pai.dev/pai/internal/pai"
)

// Kubernetes derives the names of the objects of a job: the JobSet OBJECT, its
// Jobs OBJECT-ROLE-0, their pods OBJECT-ROLE-0-INDEX-xxxxx. A label has at most
// 63 characters. With an INDEX of up to 3 digits (MaxInstances) these widths
// remain: 32 + 1 + 17 + 2 + 4 + 6 = 62.
const (
	maxObjectName = 32
	maxRoleName   = 17
)

// ObjectName is the name that the Kubernetes objects of a job share: a DNS
// label that starts with a letter, the same for the same user and name, and
// different for any other. It has the form user-name-hash. The hash makes
// it unique; user and name are shortened and only for readers.
func ObjectName(user, name string) string {
	readable := label(user, 8)
	if readable == "" || readable[0] < 'a' {
		readable = "u" + strings.TrimSuffix(label(user, 7), "-")
	}
	if n := label(name, 12); n != "" {
		readable += "-" + n
	}
	return readable + "-" + hash(user+"~"+name, 10) // no user name has a ~
}

// roleObject is the part of the names for a task role. A role whose name is not
// a short lowercase word gets a hash, so that Worker and worker differ.
func roleObject(role string) string {
	simple := label(role, maxRoleName)
	if simple == role {
		return role
	}
	readable := label(role, 10)
	if readable == "" {
		return "role-" + hash(role, 6)
	}
	return readable + "-" + hash(role, 6)
}

// roleLabel is the value of the label with the name of a task role: the name
// itself if Kubernetes accepts it as a label.
func roleLabel(role string) string {
	if len(role) <= 63 && role[0] != '_' && role[len(role)-1] != '_' {
		return role
	}
	return roleObject(role)
}

// label keeps the letters and digits of s, in lowercase, with single dashes for
// everything between them, and has at most limit characters.
func label(s string, limit int) string {
	var b strings.Builder
	dash := false
	for _, c := range strings.ToLower(s) {
		if c < '0' || c > '9' && c < 'a' || c > 'z' {
			dash = b.Len() > 0
			continue
		}
		if dash {
			b.WriteByte('-')
			dash = false
		}
		b.WriteRune(c)
	}
	out := b.String()
	return strings.TrimSuffix(out[:min(limit, len(out))], "-")
}

// hash is n characters of a hash of s, each one of 32.
func hash(s string, n int) string {
	sum := sha256.Sum256([]byte(s))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:n]
}

// Namespace is the namespace of the jobs of a virtual cluster.
func Namespace(virtualCluster string) string {
	return pai.VirtualClusterNamespacePrefix + virtualCluster
}
