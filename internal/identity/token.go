package identity

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// Claims are what clients read in a token.
type Claims struct {
	Username    string
	Application bool
	Issued      time.Time
	Expires     time.Time // zero: not in the token
}

// wireClaims is the order and the names of OpenPAI.
type wireClaims struct {
	Username    string `json:"username"`
	Application bool   `json:"application"`
	Iat         int64  `json:"iat"`
	Exp         int64  `json:"exp,omitempty"`
}

// NewToken returns a token in the form of a JSON Web Token, because published clients
// decode tokens. Its third part is 256 random bits instead of a signature: the server
// compares the hash of the whole token with those it stores, as for other tokens, so
// there is no key that could sign tokens, get lost, or be stolen.
func NewToken(c Claims) string {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	return encode(c) + "." + base64.RawURLEncoding.EncodeToString(secret)
}

// Listed is how a list shows a token: clients can decode it, and it is not valid. Its
// third part is the ID of the token.
func Listed(c Claims, id string) string { return encode(c) + "." + id }

// header is {"alg":"HS256","typ":"JWT"}.
const header = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"

func encode(c Claims) string {
	w := wireClaims{Username: c.Username, Application: c.Application, Iat: c.Issued.Unix()}
	if !c.Expires.IsZero() {
		w.Exp = c.Expires.Unix()
	}
	payload, err := json.Marshal(w)
	if err != nil {
		panic(err) // it has only strings and numbers
	}
	return header + "." + base64.RawURLEncoding.EncodeToString(payload)
}

// ReadClaims decodes a token without checking it. What it returns is only a hint: it
// comes from the client.
func ReadClaims(token string) (Claims, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return Claims{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var w wireClaims
	if err != nil || json.Unmarshal(payload, &w) != nil {
		return Claims{}, false
	}
	c := Claims{Username: w.Username, Application: w.Application, Issued: time.Unix(w.Iat, 0)}
	if w.Exp != 0 {
		c.Expires = time.Unix(w.Exp, 0)
	}
	return c, true
}

// LastPart is the third part of a token; empty if it does not have three. Of a token in
// a list it is the ID.
func LastPart(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	return parts[2]
}
