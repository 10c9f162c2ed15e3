import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.lang.reflect.InvocationTargetException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.AwsSessionCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.core.SdkField;
import software.amazon.awssdk.core.SdkPojo;
import software.amazon.awssdk.core.exception.SdkException;
import software.amazon.awssdk.core.interceptor.Context;
import software.amazon.awssdk.core.interceptor.ExecutionAttributes;
import software.amazon.awssdk.core.interceptor.ExecutionInterceptor;
import software.amazon.awssdk.core.protocol.MarshallingType;
import software.amazon.awssdk.core.traits.ListTrait;
import software.amazon.awssdk.core.traits.MapTrait;
import software.amazon.awssdk.core.util.SdkAutoConstructList;
import software.amazon.awssdk.core.util.SdkAutoConstructMap;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.protocols.jsoncore.JsonNode;
import software.amazon.awssdk.protocols.jsoncore.JsonWriter;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.retries.DefaultRetryStrategy;
import software.amazon.awssdk.services.firehose.FirehoseClient;
import software.amazon.awssdk.services.firehose.FirehoseClientBuilder;
import software.amazon.awssdk.utils.builder.Buildable;

/**
 * Runs steps of the conformance tables with the AWS SDK for Java v2; ../README.md describes the lines it reads and writes.
 */
public final class Conformance {
    private static final String MODEL = "software.amazon.awssdk.services.firehose.model.";
    private static final Map<String, FirehoseClient> CLIENTS = new HashMap<>();
    private static int attempts;

    /** Counts what is sent. */
    private static final class Counting implements ExecutionInterceptor {
        @Override
        public void beforeTransmission(Context.BeforeTransmission context, ExecutionAttributes attributes) {
            attempts++;
        }
    }

    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        JsonNode.parser();
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            Map<String, Object> outcome = run(JsonNode.parser().parse(line).asObject());
            outcome.put("attempts", attempts);
            JsonWriter writer = JsonWriter.create();
            write(writer, outcome);
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            bytes.write(writer.getBytes());
            bytes.write('\n');
            System.out.write(bytes.toByteArray());
            System.out.flush();
        }
    }

    private static Map<String, Object> run(Map<String, JsonNode> step) throws Exception {
        String operation = step.get("operation").asString();
        Class<?> request = Class.forName(MODEL + operation + "Request");
        String method = operation.substring(0, 1).toLowerCase() + operation.substring(1);
        Map<String, Object> outcome = new LinkedHashMap<>();
        attempts = 0;
        try {
            Object input = filled((SdkPojo) request.getMethod("builder").invoke(null), step.get("input"));
            Object output = FirehoseClient.class.getMethod(method, request).invoke(clientFor(step.get("client")), input);
            outcome.put("output", plain(output));
        } catch (InvocationTargetException wrapped) {
            if (!(wrapped.getCause() instanceof SdkException error)) {
                throw wrapped;
            }
            if (attempts == 0) {
                outcome.put("refused", String.valueOf(error.getMessage()));
            } else {
                outcome.put("error", told(error));
            }
        }
        return outcome;
    }

    private static Map<String, Object> told(SdkException error) {
        Map<String, Object> told = new LinkedHashMap<>();
        if (error instanceof AwsServiceException answered && answered.awsErrorDetails() != null) {
            told.put("code", answered.awsErrorDetails().errorCode());
            told.put("message", answered.awsErrorDetails().errorMessage());
            told.put("status", answered.statusCode());
        } else {
            told.put("code", "NoAnswer");
            told.put("message", String.valueOf(error));
        }
        return told;
    }

    private static FirehoseClient clientFor(JsonNode node) {
        return CLIENTS.computeIfAbsent(node.toString(), key -> client(node.asObject()));
    }

    private static FirehoseClient client(Map<String, JsonNode> wanted) {
        String id = wanted.get("access_key_id").asString();
        String secret = wanted.get("secret_access_key").asString();
        JsonNode token = wanted.get("session_token");
        AwsCredentials credentials = token.isNull()
                ? AwsBasicCredentials.create(id, secret)
                : AwsSessionCredentials.create(id, secret, token.asString());
        FirehoseClientBuilder builder = FirehoseClient.builder()
                .endpointOverride(URI.create(wanted.get("endpoint").asString()))
                .region(Region.US_EAST_1)
                .credentialsProvider(StaticCredentialsProvider.create(credentials))
                .httpClientBuilder(UrlConnectionHttpClient.builder());
        JsonNode most = wanted.get("attempts");
        builder.overrideConfiguration(options -> {
            options.addExecutionInterceptor(new Counting());
            if (!most.isNull()) {
                options.retryStrategy(retries -> retries.maxAttempts(Integer.parseInt(most.asNumber())));
            }
        });
        return builder.build();
    }

    /** The structure that {@code builder} makes with the members of {@code node}. */
    private static Object filled(SdkPojo builder, JsonNode node) {
        Map<String, JsonNode> members = node.asObject();
        for (SdkField<?> field : builder.sdkFields()) {
            JsonNode given = members.get(field.memberName());
            if (given != null && !given.isNull()) {
                field.set(builder, value(field, given));
            }
        }
        return ((Buildable) builder).build();
    }

    private static Object value(SdkField<?> field, JsonNode node) {
        MarshallingType<?> type = field.marshallingType();
        if (type == MarshallingType.SDK_POJO) {
            return filled(field.constructor().get(), node);
        } else if (type == MarshallingType.LIST) {
            SdkField<?> element = field.getTrait(ListTrait.class).memberFieldInfo();
            List<Object> elements = new ArrayList<>();
            node.asArray().forEach(each -> elements.add(value(element, each)));
            return elements;
        } else if (type == MarshallingType.MAP) {
            SdkField<?> element = field.getTrait(MapTrait.class).valueFieldInfo();
            Map<String, Object> elements = new LinkedHashMap<>();
            node.asObject().forEach((key, each) -> elements.put(key, value(element, each)));
            return elements;
        } else if (type == MarshallingType.SDK_BYTES) {
            return SdkBytes.fromByteArray(java.util.Base64.getDecoder().decode(node.asString()));
        } else if (type == MarshallingType.INTEGER) {
            return Integer.valueOf(node.asNumber());
        } else if (type == MarshallingType.DOUBLE) {
            return Double.valueOf(node.asNumber());
        } else if (type == MarshallingType.BOOLEAN) {
            return node.asBoolean();
        } else if (type == MarshallingType.STRING) {
            return node.asString();
        }
        throw new IllegalArgumentException(field.memberName() + " is of type " + type);
    }

    /** An output as maps and lists under the API's names, without what is not set. */
    private static Object plain(Object value) {
        if (value instanceof SdkPojo structure) {
            Map<String, Object> members = new LinkedHashMap<>();
            for (SdkField<?> field : structure.sdkFields()) {
                Object member = field.getValueOrDefault(structure);
                boolean unset = member instanceof SdkAutoConstructList || member instanceof SdkAutoConstructMap;
                if (member != null && !unset) {
                    members.put(field.memberName(), plain(member));
                }
            }
            return members;
        } else if (value instanceof Collection<?> elements) {
            return elements.stream().map(Conformance::plain).toList();
        } else if (value instanceof Instant at) {
            return at.toEpochMilli() / 1000.0;
        }
        return value;
    }

    private static void write(JsonWriter writer, Object value) {
        if (value instanceof Map<?, ?> members) {
            writer.writeStartObject();
            members.forEach((name, member) -> {
                writer.writeFieldName((String) name);
                write(writer, member);
            });
            writer.writeEndObject();
        } else if (value instanceof List<?> elements) {
            writer.writeStartArray();
            elements.forEach(element -> write(writer, element));
            writer.writeEndArray();
        } else if (value instanceof String text) {
            writer.writeValue(text);
        } else if (value instanceof Integer number) {
            writer.writeValue(number);
        } else if (value instanceof Double number) {
            writer.writeValue(number);
        } else if (value instanceof Boolean truth) {
            writer.writeValue(truth);
        } else if (value == null) {
            writer.writeNull();
        } else {
            throw new IllegalArgumentException("no JSON for " + value.getClass());
        }
    }
}
