package rest

import (
	"errors"
	"net/http"
	"slices"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// openPAIError is an error as clients of OpenPAI read it. The other fields are those of
// PAI: more of them disturb no client.
type openPAIError struct {
	Code    string        `json:"code"`
	Message string        `json:"message"`
	PAI     pai.Code      `json:"pai"`
	Next    string        `json:"next,omitempty"`
	Errors  []job.Problem `json:"errors,omitempty"`
}

func (h *Handler) failOpenPAI(w http.ResponseWriter, req *http.Request, err error) {
	status, ok := h.beforeFailure(w, req, err)
	if !ok {
		return
	}
	status, body := openPAIBody(status, err)
	writeJSON(w, status, body)
}

// openPAIBody returns the status and the body of an error.
func openPAIBody(status int, err error) (int, openPAIError) {
	b := bodyOf(err)
	body := openPAIError{Code: openPAICode(status, err), Message: b.Message, PAI: pai.CodeOf(err), Next: b.Next, Errors: b.Errors}
	var known *reason
	switch {
	case errors.As(err, &known):
		body.Code, body.Message = known.code, known.message
		if status == http.StatusConflict && slices.Contains(forbiddenCodes(), known.code) {
			status = http.StatusForbidden
		}
	case errors.Is(err, errTokenInvalid):
		status, body.Message = http.StatusUnauthorized, "Your token is invalid."
	case errors.Is(err, errUnauthorized), errors.Is(err, identity.ErrGuest):
		status, body.Message = http.StatusUnauthorized, "Guest is not allowed to do this operation."
	case errors.Is(err, identity.ErrApplication):
		body.Message = "Applications are not allowed to do this operation."
	case errors.Is(err, identity.ErrNotAdmin):
		body.Message = "Non-admin is not allow to do this operation."
	}
	return status, body
}

// forbiddenCodes are refusals that OpenPAI answers with 403.
func forbiddenCodes() []string {
	return []string{"RemoveAdminError", "ForbiddenKeyError", "ForbiddenUserError"}
}

func openPAICode(status int, err error) string {
	var problems job.Problems
	switch {
	case errors.As(err, &problems):
		return "InvalidProtocolError"
	case errors.Is(err, errUnauthorized), errors.Is(err, identity.ErrGuest):
		return "UnauthorizedUserError"
	case errors.Is(err, errNoTag):
		return "NoTagError"
	}
	switch status {
	case http.StatusForbidden:
		return "ForbiddenUserError"
	case http.StatusBadRequest:
		return "InvalidParametersError"
	case http.StatusNotFound:
		return "NoJobError"
	}
	if pai.CodeOf(err) == pai.CodeConflict {
		return "ConflictJobError"
	}
	return "UnknownError"
}
