// Verifies what `pkcs11-issuer audit` exports and proves, with libraries that share no code with ours:
// golang.org/x/mod/sumdb and filippo.io/torchwood.
//
//	tlog tree VKEY FOLDER   verifies a checkpoint, every tile and every entry; prints the entries, a line each
//	tlog proof VKEY FILE    verifies a proof; prints the entry that it is about
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	if len(os.Args) != 4 {
		fail(errors.New("usage: tlog tree|proof VKEY PATH"))
	}
	verifier, err := newVerifier(os.Args[2])
	if err != nil {
		fail(err)
	}
	switch os.Args[1] {
	case "tree":
		err = tree(verifier, os.Args[3])
	case "proof":
		err = proof(verifier, os.Args[3])
	default:
		err = fmt.Errorf("no command %q", os.Args[1])
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func tree(verifier note.Verifier, folder string) error {
	text, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	if err != nil {
		return err
	}
	policy, err := newPolicy(verifier, string(text))
	if err != nil {
		return err
	}
	checkpoint, _, err := torchwood.VerifyCheckpoint(text, policy)
	if err != nil {
		return err
	}
	if checkpoint.Extension != "" {
		return errors.New("the checkpoint has extension lines")
	}
	client, err := torchwood.NewClient(files(folder))
	if err != nil {
		return err
	}
	next := int64(0)
	for index, entry := range client.AllEntries(context.Background(), checkpoint.Tree, 0) {
		if index != next {
			return fmt.Errorf("entry %d follows %d", index, next-1)
		}
		next++
		fmt.Printf("%s\n", entry)
	}
	if err := client.Err(); err != nil {
		return err
	}
	if next != checkpoint.N {
		return fmt.Errorf("%d of %d entries", next, checkpoint.N)
	}
	return nil
}

func proof(verifier note.Verifier, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	entry, err := torchwood.ProofExtraData(text)
	if err != nil {
		return err
	}
	_, checkpoint, _ := strings.Cut(string(text), "\n\n")
	policy, err := newPolicy(verifier, checkpoint)
	if err != nil {
		return err
	}
	if err := torchwood.VerifyProof(policy, tlog.RecordHash(entry), text); err != nil {
		return err
	}
	fmt.Printf("%s\n", entry)
	return nil
}

// newPolicy demands a signature by the cluster's key, which signs the logs of all runs, and an origin in this cluster.
func newPolicy(verifier note.Verifier, checkpoint string) (torchwood.Policy, error) {
	origin, _, _ := strings.Cut(checkpoint, "\n")
	if !strings.HasPrefix(origin, verifier.Name()+"/") {
		return nil, fmt.Errorf("the origin %q is not of %q", origin, verifier.Name())
	}
	policy := torchwood.SingleVerifierPolicy(verifier)
	return torchwood.ThresholdPolicy(2, policy, torchwood.OriginPolicy(origin)), nil
}

// files reads tiles from a folder. They must have exactly the names of the specification.
type files string

func (f files) ReadTiles(_ context.Context, tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		data, err := f.ReadEndpoint(context.Background(), torchwood.TilePath(tile))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func (f files) SaveTiles([]tlog.Tile, [][]byte) {}

func (f files) ReadEndpoint(_ context.Context, path string) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(f), path))
}

// newVerifier returns the verifier of Go's library for Ed25519, and our own for ECDSA with P-256 (c2sp.org/signed-note), which
// that library lacks.
func newVerifier(vkey string) (note.Verifier, error) {
	name, rest, _ := strings.Cut(vkey, "+")
	id, encoded, _ := strings.Cut(rest, "+")
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(key) == 0 {
		return nil, errors.New("malformed verifier key")
	}
	if key[0] != 2 {
		return note.NewVerifier(vkey)
	}
	public, err := x509.ParsePKIXPublicKey(key[1:])
	if err != nil {
		return nil, err
	}
	ec, ok := public.(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("the verifier key is not ECDSA")
	}
	digest := sha256.Sum256(key[1:])
	hash := binary.BigEndian.Uint32(digest[:])
	if written, err := strconv.ParseUint(id, 16, 32); err != nil || uint32(written) != hash {
		return nil, errors.New("the verifier key has another id")
	}
	return &ecdsaVerifier{name, hash, ec}, nil
}

type ecdsaVerifier struct {
	name string
	hash uint32
	key  *ecdsa.PublicKey
}

func (v *ecdsaVerifier) Name() string    { return v.name }
func (v *ecdsaVerifier) KeyHash() uint32 { return v.hash }
func (v *ecdsaVerifier) Verify(text, signature []byte) bool {
	digest := sha256.Sum256(text)
	return ecdsa.VerifyASN1(v.key, digest[:], signature)
}
