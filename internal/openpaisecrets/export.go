package openpaisecrets

import "encoding/json"

// The namespaces of OpenPAI 1.0 to 1.8 that have Secrets of users, one Secret each.
const (
	usersNamespace  = "pai-user-v2"
	groupsNamespace = "pai-group"
	tokensNamespace = "pai-user-token"
	// olderUsersNamespace is where releases before 1.0 keep users, in another form.
	olderUsersNamespace = "pai-user"
)

// Export is what the Secrets have.
type Export struct {
	Users  []User
	Groups []Group
	Tokens []Token
}

// User is a user of OpenPAI.
type User struct {
	Name, Email string
	// PasswordKey is the PBKDF2 key of the password in hexadecimal; empty for none.
	PasswordKey string
	Groups      []string
	Extension   map[string]json.RawMessage
}

// Group is a group of OpenPAI with its rights.
type Group struct {
	Name, Description, ExternalName string
	Admin                           bool
	VirtualClusters, Storages       []string
	// Extension is what clients stored, without the rights.
	Extension map[string]json.RawMessage
}

// Token is an application token. Logins are not read: they end within days.
type Token struct {
	User string
	// Text is the secret. It is neither printed nor stored.
	Text string `json:"-"`
	// DefaultKey means that the token is signed with the key that OpenPAI documents
	// as its default, so that others can compute it.
	DefaultKey bool
}

// GoString hides the token.
func (t Token) GoString() string { return t.String() }

// String hides the token.
func (t Token) String() string { return "application token of " + t.User }

// Add appends what another export has.
func (e *Export) Add(o Export) {
	e.Users = append(e.Users, o.Users...)
	e.Groups = append(e.Groups, o.Groups...)
	e.Tokens = append(e.Tokens, o.Tokens...)
}
