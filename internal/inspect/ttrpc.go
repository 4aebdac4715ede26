package inspect

import (
	"encoding/binary"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// The header of a ttrpc message: length, stream, type, and flags
// (github.com/containerd/ttrpc, PROTOCOL.md). The library and the generated types
// of containerd would make the helper three times as large, so this file has the
// one call that the helper needs.
const (
	ttrpcHeader   = 10
	ttrpcRequest  = 1
	ttrpcResponse = 2
	ttrpcMax      = 4 << 20
	ttrpcStream   = 1 // clients use odd numbers
)

// ttrpcCall calls a method on a connection and returns the payload of the response.
// Request has the fields service, method, payload; Response has status, payload.
func ttrpcCall(conn io.ReadWriter, service, method string, payload []byte) ([]byte, error) {
	request := append(stringField(1, service), stringField(2, method)...)
	request = append(request, stringField(3, string(payload))...)
	header := make([]byte, ttrpcHeader)
	binary.BigEndian.PutUint32(header, uint32(len(request)))
	binary.BigEndian.PutUint32(header[4:], ttrpcStream)
	header[8] = ttrpcRequest
	if _, err := conn.Write(append(header, request...)); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(conn, header); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(header)
	if length > ttrpcMax || binary.BigEndian.Uint32(header[4:]) != ttrpcStream || header[8] != ttrpcResponse {
		return nil, fmt.Errorf("unexpected message % x", header)
	}
	response := make([]byte, length)
	if _, err := io.ReadFull(conn, response); err != nil {
		return nil, err
	}
	status, err := bytesField(response, 1)
	if err != nil {
		return nil, err
	}
	if code, err := varintField(status, 1); err != nil || code != 0 {
		message, _ := bytesField(status, 2) // the code is enough
		return nil, fmt.Errorf("%s: code %d: %s", method, code, message)
	}
	return bytesField(response, 2)
}

func stringField(number protowire.Number, value string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, number, protowire.BytesType), value)
}

// bytesField is the last value of a field of a message; nil if it is absent.
func bytesField(message []byte, number protowire.Number) (value []byte, err error) {
	err = eachField(message, func(n protowire.Number, kind protowire.Type, field []byte) {
		if n == number && kind == protowire.BytesType {
			value, _ = protowire.ConsumeBytes(field)
		}
	})
	return value, err
}

// varintField is the last value of a number in a message; 0 if it is absent.
func varintField(message []byte, number protowire.Number) (value uint64, err error) {
	err = eachField(message, func(n protowire.Number, kind protowire.Type, field []byte) {
		if n == number && kind == protowire.VarintType {
			value, _ = protowire.ConsumeVarint(field)
		}
	})
	return value, err
}

func eachField(message []byte, do func(n protowire.Number, kind protowire.Type, field []byte)) error {
	for len(message) > 0 {
		n, kind, tag := protowire.ConsumeTag(message)
		if tag < 0 {
			return protowire.ParseError(tag)
		}
		size := protowire.ConsumeFieldValue(n, kind, message[tag:])
		if size < 0 {
			return protowire.ParseError(size)
		}
		do(n, kind, message[tag:tag+size])
		message = message[tag+size:]
	}
	return nil
}
