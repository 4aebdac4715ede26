package kube

import (
	"errors"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// NotConverted reports whether the API server answers, but cannot convert stored objects
// of a service, because the webhook that does it fails.
func NotConverted(err error) bool {
	status := apierrors.APIStatus(nil)
	return errors.As(err, &status) && status.Status().Code == http.StatusInternalServerError &&
		strings.Contains(status.Status().Message, "conversion webhook")
}
