package portal

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
)

// asData is the policy of answers that are not the page: a browser that opens one runs
// and shows nothing of it but text. Output of jobs is among them.
const asData = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox"

// pagePolicy is the policy of the page. The editor makes style sheets with the nonce.
func pagePolicy(nonce string) string {
	return "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-" + nonce + "'; connect-src 'self'; img-src 'self' data:; " +
		"font-src 'self'; manifest-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
}

func newNonce() string {
	random := make([]byte, 18)
	_, _ = rand.Read(random) // never fails
	return base64.StdEncoding.EncodeToString(random)
}

// protect sets what every answer has. There is no Strict-Transport-Security: with a
// certificate of PAI's authority, it would leave the browser no way to trust it.
func protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		for name, value := range map[string]string{
			"Content-Security-Policy":      asData,
			"X-Content-Type-Options":       "nosniff",
			"Referrer-Policy":              "no-referrer",
			"X-Frame-Options":              "DENY",
			"Cross-Origin-Opener-Policy":   "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin",
			"Permissions-Policy":           "camera=(), geolocation=(), microphone=()",
			"Cache-Control":                "no-store",
		} {
			w.Header().Set(name, value)
		}
		next.ServeHTTP(w, req)
	})
}
