package sealed

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/authprofile/authprofile"
)

// A sealed value is
//
//	sealed:1:KEY:TEXT
//
// in which KEY is the record's data key as the Keeper has encrypted it, TEXT is
// what AES-256-GCM makes of the secret under that key (a random nonce, the
// ciphertext, the tag), and both are base64url without padding.
//
// The additional data of TEXT names the record, the fields that are sealed in
// it, and the one that this is.
const prefix = "sealed:1:"

// Strict, so that there is one spelling of a value only.
var encoding = base64.RawURLEncoding.Strict()

const dataKeySize = 32

// A record is the secrets of a profile, grant or flow, and what binds them.
type record struct {
	kind   string
	bound  []string // values in the clear that the seal covers: the key, first of all
	fields []field
}

type field struct {
	name, member string // member: of a map
	always       bool   // sealed even if empty
	value        string
	set          func(string)
}

// sealedFields returns the fields that are sealed, or have to be.
func (r record) sealedFields() []field {
	var list []field
	for _, f := range r.fields {
		if f.value != "" || f.always {
			list = append(list, f)
		}
	}
	return list
}

// bind returns the additional data for one of the fields. Every part has its
// length in front, and every list its number, so that no two records share it.
func (r record) bind(fields []field, this field) []byte {
	data := []byte("authprofile " + prefix)
	add := func(s string) {
		data = binary.AppendUvarint(data, uint64(len(s)))
		data = append(data, s...)
	}
	add(r.kind)
	data = binary.AppendUvarint(data, uint64(len(r.bound)))
	for _, s := range r.bound {
		add(s)
	}
	data = binary.AppendUvarint(data, uint64(len(fields)))
	for _, f := range append(fields[:len(fields):len(fields)], this) {
		add(f.name)
		add(f.member)
	}
	return data
}

// seal replaces the record's secrets by sealed values.
func (r record) seal(ctx context.Context, k Keeper) error {
	fields := r.sealedFields()
	if len(fields) == 0 {
		return nil
	}
	key := make([]byte, dataKeySize)
	rand.Read(key)
	aead, err := newAEAD(key)
	if err != nil {
		return err
	}
	wrapped, err := k.Encrypt(ctx, key)
	if err != nil {
		return fmt.Errorf("sealed: encrypting the key of a record: %w", err)
	}
	if len(wrapped) == 0 {
		return errors.New("sealed: the keeper encrypted the key of a record to nothing")
	}
	for _, f := range fields {
		text := aead.Seal(nil, nil, []byte(f.value), r.bind(fields, f))
		f.set(prefix + encoding.EncodeToString(wrapped) + ":" + encoding.EncodeToString(text))
	}
	return nil
}

// open replaces the record's sealed values by the secrets, all or none.
func (r record) open(ctx context.Context, k Keeper) error {
	fields := r.sealedFields()
	if len(fields) == 0 {
		return nil
	}
	wrapped, texts, err := parseAll(fields)
	if err != nil {
		return err
	}
	key, err := k.Decrypt(ctx, wrapped)
	if err != nil {
		return fmt.Errorf("sealed: decrypting the key of a record: %w", err)
	}
	if len(key) != dataKeySize {
		return errors.New("sealed: the keeper decrypted the key of a record to something else")
	}
	aead, err := newAEAD(key)
	if err != nil {
		return err
	}
	secrets := make([]string, len(fields))
	for i, f := range fields {
		secret, err := aead.Open(nil, nil, texts[i], r.bind(fields, f))
		if err != nil {
			return f.problem("was damaged, or sealed in another place, or what its seal covers was changed")
		}
		secrets[i] = string(secret)
	}
	for i, f := range fields {
		f.set(secrets[i])
	}
	return nil
}

// parseAll returns the encrypted key that all the fields share, and the
// ciphertext of each.
func parseAll(fields []field) (wrapped []byte, texts [][]byte, err error) {
	for i, f := range fields {
		key, text, problem := parse(f.value)
		switch {
		case problem != "":
			return nil, nil, f.problem(problem)
		case i == 0:
			wrapped = key
		case string(key) != string(wrapped):
			return nil, nil, f.problem("was not sealed together with the rest of its record")
		}
		texts = append(texts, text)
	}
	return wrapped, texts, nil
}

// parse takes a sealed value apart, or says what is wrong with it.
func parse(value string) (wrapped, text []byte, problem string) {
	rest, ok := strings.CutPrefix(value, prefix)
	if !ok {
		return nil, nil, "is not sealed"
	}
	const damaged = "is damaged"
	key, secret, ok := strings.Cut(rest, ":")
	if !ok || strings.ContainsAny(rest, "\r\n") { // which base64 would pass over
		return nil, nil, damaged
	}
	wrapped, err := encoding.DecodeString(key)
	if err != nil || len(wrapped) == 0 {
		return nil, nil, damaged
	}
	text, err = encoding.DecodeString(secret)
	if err != nil {
		return nil, nil, damaged
	}
	return wrapped, text, ""
}

// sealed reports whether the value looks sealed, which proves nothing: an
// attacker can write the prefix too.
func (f field) sealed() bool { return strings.HasPrefix(f.value, prefix) }

func (f field) problem(s string) error {
	return &authprofile.FieldError{Field: f.name, Problem: s}
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
