package s3

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/pai"
)

const (
	connectLimit = 15 * time.Second
	// attempts is how often a request is sent if the server is busy or the connection ends.
	attempts = 4
	// maxAnswer bounds every answer but the content of an object, in bytes.
	maxAnswer = 8 << 20
	// maxHeader bounds the header of an answer, in bytes.
	maxHeader = 64 << 10
	// maxCA bounds a file of certificates, in bytes.
	maxCA = 1 << 20
)

// Open returns the target with the name s3://BUCKET/PREFIX. It asks the server nothing.
func Open(name string, s backup.S3, c Credentials) (backup.Target, error) {
	bucket, prefix, err := parseLocation(name)
	if err != nil {
		return nil, err
	}
	region := cmp.Or(s.Region, defaultRegion)
	host, secure, err := parseEndpoint(s.Endpoint, region)
	if err != nil {
		return nil, err
	}
	transport, err := newTransport(s.CAFile)
	if err != nil {
		return nil, err
	}
	core, err := minio.NewCore(host, &minio.Options{
		Creds:  credentials.NewStaticV4(c.accessKeyID, c.secretAccessKey, c.sessionToken),
		Secure: secure, Region: region, Transport: transport, MaxRetries: attempts,
	})
	if err != nil {
		return nil, pai.Errorf(pai.CodeUsage, "name the endpoint like https://s3.example.com:9000", "open %s: %w", name, err)
	}
	return &target{core: core, bucket: bucket, prefix: prefix, endpoint: core.EndpointURL().String()}, nil
}

// newTransport speaks HTTP/1.1 only. The client that uses it follows no redirect.
func newTransport(caFile string) (http.RoundTripper, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		pool, err := readCA(caFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = pool
	}
	return bounded{&http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: connectLimit}).DialContext, TLSHandshakeTimeout: connectLimit,
		TLSClientConfig: config, IdleConnTimeout: time.Minute, DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
	}}, nil
}

func readCA(file string) (*x509.CertPool, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read the certificates for the S3 server: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxCA))
	if err != nil {
		return nil, fmt.Errorf("read the certificates for the S3 server: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, pai.Errorf(pai.CodeInvalid, "write the certificate of its authority there, as PEM", "%s has no certificate for the S3 server", file)
	}
	return pool, nil
}

// bounded bounds what a server answers. The content of an object is bounded where it is
// read.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if content := r.Method == http.MethodGet && r.URL.RawQuery == "" && answer.StatusCode == http.StatusOK; !content {
		answer.Body = body{io.LimitReader(answer.Body, maxAnswer), answer.Body}
	}
	return answer, nil
}

// body reads from one and closes the other.
type body struct {
	io.Reader
	io.Closer
}
