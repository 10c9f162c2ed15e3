// Runs steps of the conformance tables with the AWS SDK for Go v2; ../README.md describes the lines it reads and writes.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/smithy-go"
)

type wanted struct {
	Endpoint        string `json:"endpoint"`
	AccessKeyID     string `json:"access_key_id"`
	SecretAccessKey string `json:"secret_access_key"`
	SessionToken    string `json:"session_token"`
	Attempts        int    `json:"attempts"`
}

type step struct {
	Client    wanted          `json:"client"`
	Operation string          `json:"operation"`
	Input     json.RawMessage `json:"input"`
}

type refusal struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Status  int    `json:"status,omitempty"`
}

type outcome struct {
	Output   any      `json:"output,omitempty"`
	Error    *refusal `json:"error,omitempty"`
	Refused  string   `json:"refused,omitempty"`
	Attempts int      `json:"attempts"`
}

// counting is the SDK's own HTTP client, with a count of the requests that were sent.
type counting struct {
	inner aws.HTTPClient
	sent  int
}

func (c *counting) Do(request *http.Request) (*http.Response, error) {
	c.sent++
	return c.inner.Do(request)
}

var transport = &counting{inner: awshttp.NewBuildableClient()}

var clients = map[wanted]*firehose.Client{}

func clientFor(w wanted) *firehose.Client {
	if clients[w] == nil {
		credentials := aws.Credentials{
			AccessKeyID: w.AccessKeyID, SecretAccessKey: w.SecretAccessKey, SessionToken: w.SessionToken,
		}
		clients[w] = firehose.New(firehose.Options{
			BaseEndpoint: &w.Endpoint,
			Region:       "us-east-1",
			Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return credentials, nil
			}),
			HTTPClient:       transport,
			RetryMaxAttempts: w.Attempts,
		})
	}
	return clients[w]
}

// run calls the method that bears the operation's name. The fields of its input bear the names of the API's members, so
// that encoding/json fills them, blobs from base64 too.
func run(s step) outcome {
	method := reflect.ValueOf(clientFor(s.Client)).MethodByName(s.Operation)
	input := reflect.New(method.Type().In(1).Elem())
	if err := json.Unmarshal(s.Input, input.Interface()); err != nil {
		return outcome{Refused: err.Error()}
	}
	transport.sent = 0
	results := method.Call([]reflect.Value{reflect.ValueOf(context.Background()), input})
	if err, failed := results[1].Interface().(error); failed {
		return failure(err, transport.sent)
	}
	return outcome{Output: plain(results[0]), Attempts: transport.sent}
}

func failure(err error, sent int) outcome {
	if sent == 0 {
		return outcome{Refused: err.Error()}
	}
	told := refusal{Code: "NoAnswer", Message: err.Error()}
	var api smithy.APIError
	if errors.As(err, &api) {
		told = refusal{Code: api.ErrorCode(), Message: api.ErrorMessage()}
	}
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		told.Status = response.HTTPStatusCode()
	}
	return outcome{Error: &told, Attempts: sent}
}

// plain turns an output into what encoding/json writes under the API's names, without what is not set.
func plain(value reflect.Value) any {
	if at, is := value.Interface().(time.Time); is {
		return float64(at.UnixMilli()) / 1000
	}
	switch value.Kind() {
	case reflect.Pointer:
		return plain(value.Elem())
	case reflect.Slice:
		elements := []any{}
		for i := range value.Len() {
			elements = append(elements, plain(value.Index(i)))
		}
		return elements
	case reflect.Struct:
		members := map[string]any{}
		for i := range value.NumField() {
			field, member := value.Type().Field(i), value.Field(i)
			if field.IsExported() && field.Name != "ResultMetadata" && !unset(member) {
				members[field.Name] = plain(member)
			}
		}
		return members
	default:
		return value.Interface()
	}
}

// unset tells of the kinds that the SDK uses for members that may be missing; its enums are texts.
func unset(member reflect.Value) bool {
	switch member.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return member.IsNil()
	case reflect.String:
		return member.Len() == 0
	default:
		return false
	}
}

func main() {
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var s step
		if err := json.Unmarshal(line, &s); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		answer, err := json.Marshal(run(s))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(string(answer))
	}
}
