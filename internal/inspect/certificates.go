package inspect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"pai.dev/pai/internal/certs"
)

// RenewalFailed is the name of the problem of a renewal in the part Certificates.
const RenewalFailed = "renewal"

// allCertificates renews the requested certificates, and reports all.
func (i *inspection) allCertificates(ctx context.Context) error {
	store := i.store()
	switch i.request.Renew {
	case "":
	case RenewDue: // a step asks, perhaps before there is an API; the unit renews that of the REST server
		renewed, err := store.Renew(ctx, false)
		i.report.Renewed = renewed
		i.problem(err, string(Certificates), RenewalFailed)
	case RenewAll:
		renewed, err := store.Renew(ctx, true)
		i.report.Renewed = renewed
		i.problem(errors.Join(err, store.RenewServer(ctx, true)), string(Certificates), RenewalFailed)
	default:
		return fmt.Errorf("unknown renewal %q", i.request.Renew)
	}
	list, problems := store.List()
	i.report.Certificates = list
	for path, problem := range problems {
		i.problem(errors.New(problem), string(Certificates), path)
	}
	return nil
}

func (i *inspection) store() certs.Store {
	return certs.Store{Root: i.Root, Now: i.now, Run: i.Run, Log: slog.New(slog.DiscardHandler)}
}

// operator signs a certificate for the operator.
func (i *inspection) operator(context.Context) (err error) {
	i.report.Issued, err = i.store().IssueOperator(i.request.Operator, i.request.PublicKey)
	return err
}
