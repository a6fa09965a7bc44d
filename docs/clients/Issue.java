// Issues a token for electricity, and repeats the request until there is an answer.
//
// Usage: java Issue ADDRESS CREDENTIAL-FILE CONFIGURATION METER KWH

import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.MetadataUtils;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import vendkey.v1.Token.IssueTokenRequest;
import vendkey.v1.Token.UnitCredit;
import vendkey.v1.TokenServiceGrpc;

public final class Issue {
    private static final Set<Status.Code> AGAIN =
            EnumSet.of(
                    Status.Code.UNAVAILABLE,
                    Status.Code.DEADLINE_EXCEEDED,
                    Status.Code.RESOURCE_EXHAUSTED,
                    Status.Code.CANCELLED,
                    Status.Code.UNKNOWN);

    public static void main(String[] arguments) throws Exception {
        String address = arguments[0];
        Metadata metadata = new Metadata();
        metadata.put(
                Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER),
                "Bearer " + Files.readString(Path.of(arguments[1])).trim());
        // With TLS: Grpc.newChannelBuilder(address, TlsChannelCredentials.newBuilder().trustManager(new File("ca.pem")).build())
        ManagedChannel channel = ManagedChannelBuilder.forTarget(address).usePlaintext().build();
        var tokens =
                TokenServiceGrpc.newBlockingStub(channel)
                        .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(metadata));
        IssueTokenRequest request =
                IssueTokenRequest.newBuilder()
                        .setConfiguration(arguments[2])
                        .setMeter(arguments[3])
                        // Made once for each sale and kept with it: whatever is asked again under it is answered, and
                        // never issued twice.
                        .setRequestId(UUID.randomUUID().toString())
                        .setElectricityCredit(UnitCredit.newBuilder().setDecimal(arguments[4]))
                        .build();
        for (int attempt = 0; ; attempt++) {
            try {
                System.out.println(tokens.withDeadlineAfter(5, TimeUnit.SECONDS).issueToken(request).getToken());
                break;
            } catch (StatusRuntimeException error) {
                if (!AGAIN.contains(error.getStatus().getCode()) || attempt == 7) {
                    System.err.println(error.getStatus().getCode() + ": " + error.getStatus().getDescription());
                    System.exit(1);
                }
                Thread.sleep(100L << attempt);
            }
        }
        channel.shutdown();
    }
}
