// Issues a token for electricity, and repeats the request until there is an answer.
//
// Usage: go run issue.go ADDRESS CREDENTIAL-FILE CONFIGURATION METER KWH
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	vendkey "issue/vendkey/v1"
)

var again = map[codes.Code]bool{
	codes.Unavailable:       true,
	codes.DeadlineExceeded:  true,
	codes.ResourceExhausted: true,
	codes.Canceled:          true,
	codes.Unknown:           true,
}

func main() {
	credential, err := os.ReadFile(os.Args[2])
	must(err)
	// With TLS: credentials.NewClientTLSFromFile("ca.pem", "")
	channel, err := grpc.Dial(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(err)
	defer channel.Close()
	tokens := vendkey.NewTokenServiceClient(channel)
	every := metadata.AppendToOutgoingContext(context.Background(),
		"authorization", "Bearer "+strings.TrimSpace(string(credential)))
	request := &vendkey.IssueTokenRequest{
		Configuration: os.Args[3],
		Meter:         os.Args[4],
		// Made once for each sale and kept with it: whatever is asked again under it is answered, and never issued twice.
		RequestId: uuid(),
		Content: &vendkey.IssueTokenRequest_ElectricityCredit{
			ElectricityCredit: &vendkey.UnitCredit{Amount: &vendkey.UnitCredit_Decimal{Decimal: os.Args[5]}},
		},
	}
	for attempt := 0; ; attempt++ {
		once, cancel := context.WithTimeout(every, 5*time.Second)
		token, err := tokens.IssueToken(once, request)
		cancel()
		if err == nil {
			fmt.Println(token.Token)
			return
		}
		if !again[status.Code(err)] || attempt == 7 {
			must(err)
		}
		time.Sleep(100 * time.Millisecond << attempt)
	}
}

// uuid makes a random one (version 4).
func uuid() string {
	b := make([]byte, 16)
	_, err := rand.Read(b)
	must(err)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
