// A vSphere API simulator of others, for tests of our SOAP client: the library `simulator` of govmomi, which Debian
// packages without a program.
//
//	vcsim MODEL USER PASSWORD
//
// MODEL is `vpx` for a vCenter or `esx` for an ESXi host. It listens on a free port of 127.0.0.1, prints one line with
// the port and the SHA-1 thumbprint of its certificate, and ends when its standard input does.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/url"
	"os"
	"time"

	"github.com/vmware/govmomi/simulator"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 4 {
		log.Fatal("usage: vcsim vpx|esx USER PASSWORD")
	}
	model := simulator.VPX()
	if os.Args[1] == "esx" {
		model = simulator.ESX()
	}
	defer model.Remove()
	if err := model.Create(); err != nil {
		log.Fatal(err)
	}
	certificate, err := selfSigned()
	if err != nil {
		log.Fatal(err)
	}
	model.Service.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	model.Service.Listen = &url.URL{
		Host: "127.0.0.1:0",
		User: url.UserPassword(os.Args[2], os.Args[3]),
	}
	server := model.Service.NewServer()
	defer server.Close()
	fmt.Printf("%s %X\n", server.URL.Port(), sha1.Sum(certificate.Certificate[0]))
	io.Copy(io.Discard, os.Stdin)
}

// The simulator's own certificate has an RSA key of 1024 bits, which nobody accepts any more.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		DNSNames:     []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
