// Writes golden.tsv: what Apache Kafka's Java client makes of keys. Run once, and again only to compare with another release:
//   java -cp kafka-clients-4.3.1.jar:slf4j-api-1.7.36.jar Golden.java > golden.tsv
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.utils.Utils;

public class Golden {
    public static void main(String[] args) {
        List<byte[]> keys = new ArrayList<>();
        for (String text : List.of("", "\0", "0", "a", "A", " ", "o-1", "order-1", "order-10007", "ü", "ß1", "日本語", "🦀", "🦀🦀",
                "naïve café", "Ω≈ç√∫", "019aa5b2-7c1e-7d5e-a6f0-3f2b8b1c9d4e", "00000000-0000-0000-0000-000000000000")) {
            keys.add(text.getBytes(StandardCharsets.UTF_8));
        }
        // Every length up to 40, so each remainder of 4 with high and low bytes; then long ones.
        Random random = new Random(38);
        for (int length = 1; length <= 40; length++) {
            keys.add(bytes(random, length));
        }
        for (int length : new int[] {100, 255, 256, 257, 511, 512}) {
            keys.add(bytes(random, length));
        }
        for (int value : new int[] {0x00, 0x7f, 0x80, 0xff}) {
            for (int length = 1; length <= 9; length++) {
                byte[] key = new byte[length];
                java.util.Arrays.fill(key, (byte) value);
                keys.add(key);
            }
        }
        System.out.println("# key (hex)\tmurmur2\tpartition of 1\tof 3\tof 12\tof 50\tof 1000");
        for (byte[] key : keys) {
            StringBuilder line = new StringBuilder(HexFormat.of().formatHex(key)).append('\t').append(Utils.murmur2(key));
            for (int count : new int[] {1, 3, 12, 50, 1000}) {
                line.append('\t').append(BuiltInPartitioner.partitionForKey(key, count));
            }
            System.out.println(line);
        }
    }

    private static byte[] bytes(Random random, int length) {
        byte[] key = new byte[length];
        random.nextBytes(key);
        return key;
    }
}
