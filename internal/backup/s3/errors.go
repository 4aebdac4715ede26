package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/minio/minio-go/v7"

	"pai.dev/pai/internal/pai"
)

// rights are what a key must be allowed to do.
const rights = "s3:ListBucket, s3:ListBucketMultipartUploads, s3:GetObject, s3:PutObject, s3:DeleteObject, and s3:AbortMultipartUpload; a key that only reads needs s3:ListBucket and s3:GetObject"

// explain says in the terms of an operator why something failed, where, and what to do.
func (t *target) explain(ctx context.Context, what string, err error) error {
	where := fmt.Sprintf("%s in %s at %s", what, t, t.endpoint)
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", where, context.Cause(ctx))
	}
	if answer := new(minio.ErrorResponse); errors.As(err, answer) {
		return t.explainAnswer(where, *answer)
	}
	say := func(next, format string, args ...any) error {
		return &pai.Error{Code: pai.CodeFailed, Next: next, Message: where, Err: fmt.Errorf(format, args...)}
	}
	if u := new(url.Error); errors.As(err, &u) {
		err = u.Err
	}
	const reach = "look at the endpoint, and whether its server runs and this host reaches it"
	var dns *net.DNSError
	switch {
	case isCertificate(err):
		return say("if the authority of the certificate is private, name the file of its certificate: AWS_CA_BUNDLE for paictl, kubernetes.backup.s3.ca-file for scheduled backups",
			"the certificate of the server is not trusted: %w", err)
	case errors.As(err, new(tls.RecordHeaderError)), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return say("use http:// in the endpoint if the server has no TLS", "the server does not speak TLS: %w", err)
	case errors.As(err, &dns):
		return say(reach, "the name of the server is not found: %w", err)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return say(reach, "the server is not reachable: %w", err)
	}
	return fmt.Errorf("%s: %w", where, err)
}

func isCertificate(err error) bool {
	return errors.As(err, new(*tls.CertificateVerificationError)) || errors.As(err, new(x509.UnknownAuthorityError)) ||
		errors.As(err, new(x509.HostnameError)) || errors.As(err, new(x509.CertificateInvalidError))
}

var (
	errDenied   = errors.New("access is denied")
	errNoAction = errors.New("the server does not have this action")
)

// unknown reports whether the server does not report what is there: the key is not allowed
// to ask, or the server cannot be asked.
func unknown(err error) bool { return errors.Is(err, errDenied) || errors.Is(err, errNoAction) }

func (t *target) explainAnswer(where string, a minio.ErrorResponse) error {
	say := func(code pai.Code, next string, err error) error {
		return &pai.Error{Code: code, Next: next, Message: where, Err: err}
	}
	switch a.Code {
	case "NoSuchKey", "NoSuchUpload":
		return fmt.Errorf("%s: %w", where, fs.ErrNotExist)
	case "NoSuchBucket":
		return say(pai.CodeNotFound, "correct the name of the bucket, or create it", fmt.Errorf("the bucket %s does not exist", t.bucket))
	case "AccessDenied", "AllAccessDisabled":
		return say(pai.CodeForbidden, "allow the key these actions on the bucket: "+rights, errDenied)
	case "RequestTimeTooSkewed", "RequestExpired":
		return say(pai.CodeFailed, "set the clock of this host, and that of the server", errors.New("the clocks of this host and of the server differ too much"))
	case "AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect", "InvalidRegion":
		return say(pai.CodeUsage, "correct the region and the endpoint", errors.New("the bucket is in another region than the settings say ("+a.Code+")"))
	case "NotImplemented":
		return say(pai.CodeFailed, "", errNoAction)
	}
	// InvalidAccessKeyId, SignatureDoesNotMatch, ExpiredToken, and what servers other than
	// AWS call them; versitygw has another status for an unknown key.
	if a.StatusCode == http.StatusForbidden || a.Code == "XAdminUserNotFound" || a.StatusCode == http.StatusUnauthorized {
		return say(pai.CodeForbidden, "correct the key and its secret: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the credentials file",
			fmt.Errorf("the server does not accept the key (%s)", printable(a.Code)))
	}
	return say(pai.CodeFailed, "", fmt.Errorf("the server answers %s: %s", printable(a.Code), printable(a.Message)))
}

// printable bounds a text of the server, which can have anything.
func printable(text string) string {
	const limit = 200
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, text[:min(len(text), limit)])
	return strings.TrimSpace(text)
}
