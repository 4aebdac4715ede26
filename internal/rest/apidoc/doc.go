// Package apidoc has the parts of an OpenAPI 3.1 document that PAI uses, and makes schemas
// from Go types. It does not know the REST server: package rest fills the document from its
// table of endpoints.
package apidoc
