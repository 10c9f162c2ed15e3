import com.github.luben.zstd.ZstdInputStream;
import io.airlift.compress.snappy.SnappyHadoopStreams;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.zip.GZIPInputStream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipInputStream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.io.compress.SnappyCodec;
import org.xerial.snappy.SnappyInputStream;

/**
 * Reads every object of a folder the way Java programs do and compares it with its {@code .raw} file, or, for an object
 * of gigabytes, with as many zeros as its {@code .zeros} file says.
 */
public final class Read {
    interface Reader {
        InputStream open(Path file) throws Exception;
    }

    private static final Map<String, List<Reader>> READERS = Map.of(
            "gz", List.of(file -> new GZIPInputStream(input(file))),
            "zip", List.of(Read::streamedZip, Read::indexedZip),
            "xerial", List.of(file -> new SnappyInputStream(input(file))),
            "hadoop", List.of(Read::hadoopSnappy, Read::airliftSnappy),
            "zst", List.of(file -> new ZstdInputStream(input(file))));

    private static InputStream input(Path file) throws IOException {
        return new BufferedInputStream(Files.newInputStream(file), 1 << 16);
    }

    /** Sees the local header and the data descriptor only, never the central directory. */
    private static InputStream streamedZip(Path file) throws IOException {
        ZipInputStream zip = new ZipInputStream(input(file));
        ZipEntry entry = zip.getNextEntry();
        if (entry == null || entry.getMethod() != ZipEntry.DEFLATED) {
            throw new IOException("no deflated entry");
        }
        return zip;
    }

    private static InputStream indexedZip(Path file) throws IOException {
        ZipFile zip = new ZipFile(file.toFile());
        if (zip.size() != 1) {
            throw new IOException(zip.size() + " entries");
        }
        return zip.getInputStream(zip.entries().nextElement());
    }

    private static InputStream hadoopSnappy(Path file) throws IOException {
        SnappyCodec codec = new SnappyCodec();
        codec.setConf(new Configuration(false));
        return codec.createInputStream(input(file));
    }

    private static InputStream airliftSnappy(Path file) throws IOException {
        return new SnappyHadoopStreams().createInputStream(input(file));
    }

    private static InputStream expected(Path file, String stem) throws IOException {
        Path zeros = file.resolveSibling(stem + ".zeros");
        if (!Files.exists(zeros)) {
            return input(file.resolveSibling(stem + ".raw"));
        }
        long total = Long.parseLong(Files.readString(zeros));
        return new InputStream() {
            private long left = total;

            @Override
            public int read() {
                return left-- > 0 ? 0 : -1;
            }

            @Override
            public int read(byte[] out, int from, int max) {
                int len = (int) Math.min(left, max);
                left -= len;
                Arrays.fill(out, from, from + len, (byte) 0);
                return len > 0 ? len : -1;
            }
        };
    }

    private static void compare(InputStream decoded, InputStream raw) throws IOException {
        byte[] ours = new byte[1 << 16];
        byte[] expected = new byte[1 << 16];
        long position = 0;
        while (true) {
            int len = decoded.readNBytes(ours, 0, ours.length);
            int expectedLen = raw.readNBytes(expected, 0, expected.length);
            if (expectedLen != len || !Arrays.equals(ours, 0, len, expected, 0, len)) {
                throw new IOException("other bytes after " + position);
            }
            if (len == 0) {
                return;
            }
            position += len;
        }
    }

    public static void main(String[] args) throws Exception {
        int checked = 0;
        List<Path> files;
        try (var listed = Files.list(Path.of(args[0]))) {
            files = listed.sorted().toList();
        }
        for (Path file : files) {
            String name = file.getFileName().toString();
            int dot = name.lastIndexOf('.');
            List<Reader> readers = READERS.getOrDefault(name.substring(dot + 1), List.of());
            for (int i = 0; i < readers.size(); i++) {
                try (InputStream decoded = readers.get(i).open(file); InputStream raw = expected(file, name.substring(0, dot))) {
                    compare(decoded, raw);
                } catch (Exception error) {
                    throw new Exception(name + ", reader " + i, error);
                }
                checked++;
            }
        }
        System.out.println("checked " + checked);
    }
}
