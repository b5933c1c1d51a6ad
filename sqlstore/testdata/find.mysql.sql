-- ordered: all
SELECT * FROM authprofile_grants ORDER BY profile_id, user_id LIMIT 100;

-- ordered: profile
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' ORDER BY user_id LIMIT 100;

-- ordered: user
SELECT * FROM authprofile_grants WHERE user_id = 'user-1' ORDER BY profile_id LIMIT 100;

-- ordered: profile, user
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND user_id = 'user-1' LIMIT 100;

-- ordered: status
SELECT * FROM authprofile_grants WHERE status_key = LEFT('failing', 63) AND CAST(status AS BINARY) = 'failing' ORDER BY profile_id, user_id LIMIT 100;

-- ordered: profile, status
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND status_key = LEFT('failing', 63) AND CAST(status AS BINARY) = 'failing' ORDER BY user_id LIMIT 100;

-- ordered: user, status
SELECT * FROM authprofile_grants WHERE user_id = 'user-1' AND CAST(status AS BINARY) = 'failing' ORDER BY profile_id LIMIT 100;

-- ordered: profile, user, status
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND user_id = 'user-1' AND CAST(status AS BINARY) = 'failing' LIMIT 100;

-- ordered: end
SELECT * FROM authprofile_grants WHERE ends + INTERVAL 0 SECOND <= '2030-01-02 03:04:05.005' ORDER BY profile_id, user_id LIMIT 100;

-- few: end
SELECT * FROM (SELECT p, u FROM (SELECT profile_id AS p, user_id AS u FROM authprofile_grants WHERE ends <= '2030-01-02 03:04:05.005' ORDER BY ends LIMIT 1000) AS early ORDER BY p, u) AS listed STRAIGHT_JOIN authprofile_grants WHERE profile_id = p AND user_id = u ORDER BY p, u LIMIT 100;

-- ending
SELECT COUNT(*) FROM (SELECT profile_id AS p, user_id AS u FROM authprofile_grants WHERE ends <= '2030-01-02 03:04:05.005' ORDER BY ends LIMIT 1000) AS early;

-- ordered: profile, end
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND ends + INTERVAL 0 SECOND <= '2030-01-02 03:04:05.005' ORDER BY user_id LIMIT 100;

-- few: profile, end
SELECT * FROM (SELECT p, u FROM (SELECT profile_id AS p, user_id AS u FROM authprofile_grants WHERE ends <= '2030-01-02 03:04:05.005' ORDER BY ends LIMIT 1000) AS early WHERE p = 'p000000100' ORDER BY p, u) AS listed STRAIGHT_JOIN authprofile_grants WHERE profile_id = p AND user_id = u ORDER BY p, u LIMIT 100;

-- ordered: user, end
SELECT * FROM authprofile_grants WHERE user_id = 'user-1' AND ends + INTERVAL 0 SECOND <= '2030-01-02 03:04:05.005' ORDER BY profile_id LIMIT 100;

-- ordered: profile, user, end
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND user_id = 'user-1' AND ends + INTERVAL 0 SECOND <= '2030-01-02 03:04:05.005' LIMIT 100;

-- ordered: status, end
SELECT * FROM authprofile_grants WHERE status_key = LEFT('failing', 63) AND CAST(status AS BINARY) = 'failing' AND ends + INTERVAL 0 SECOND <= '2030-01-02 03:04:05.005' ORDER BY profile_id, user_id LIMIT 100;

-- few: status, end
SELECT * FROM (SELECT p, u FROM (SELECT profile_id AS p, user_id AS u FROM authprofile_grants WHERE ends <= '2030-01-02 03:04:05.005' ORDER BY ends LIMIT 1000) AS early ORDER BY p, u) AS listed STRAIGHT_JOIN authprofile_grants WHERE profile_id = p AND user_id = u AND CAST(status AS BINARY) = 'failing' ORDER BY p, u LIMIT 100;

-- ordered: profile, status, end
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND status_key = LEFT('failing', 63) AND CAST(status AS BINARY) = 'failing' AND ends + INTERVAL 0 SECOND <= '2030-01-02 03:04:05.005' ORDER BY user_id LIMIT 100;

-- few: profile, status, end
SELECT * FROM (SELECT p, u FROM (SELECT profile_id AS p, user_id AS u FROM authprofile_grants WHERE ends <= '2030-01-02 03:04:05.005' ORDER BY ends LIMIT 1000) AS early WHERE p = 'p000000100' ORDER BY p, u) AS listed STRAIGHT_JOIN authprofile_grants WHERE profile_id = p AND user_id = u AND CAST(status AS BINARY) = 'failing' ORDER BY p, u LIMIT 100;

-- ordered: user, status, end
SELECT * FROM authprofile_grants WHERE user_id = 'user-1' AND CAST(status AS BINARY) = 'failing' AND ends + INTERVAL 0 SECOND <= '2030-01-02 03:04:05.005' ORDER BY profile_id LIMIT 100;

-- ordered: profile, user, status, end
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND user_id = 'user-1' AND CAST(status AS BINARY) = 'failing' AND ends + INTERVAL 0 SECOND <= '2030-01-02 03:04:05.005' LIMIT 100;

-- ordered: after
SELECT * FROM authprofile_grants WHERE (profile_id > 'p000000100' OR profile_id = 'p000000100' AND user_id > 'user-0') ORDER BY profile_id, user_id LIMIT 100;

-- ordered: profile, after
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND user_id > 'user-0' ORDER BY user_id LIMIT 100;

-- ordered: user, after
SELECT * FROM authprofile_grants WHERE user_id = 'user-1' AND profile_id >= 'p000000100' ORDER BY profile_id LIMIT 100;

-- ordered: profile, user, after
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND user_id = 'user-1' LIMIT 100;

-- ordered: status, after
SELECT * FROM authprofile_grants WHERE (profile_id > 'p000000100' OR profile_id = 'p000000100' AND user_id > 'user-0') AND status_key = LEFT('failing', 63) AND CAST(status AS BINARY) = 'failing' ORDER BY profile_id, user_id LIMIT 100;

-- ordered: profile, status, after
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND user_id > 'user-0' AND status_key = LEFT('failing', 63) AND CAST(status AS BINARY) = 'failing' ORDER BY user_id LIMIT 100;

-- ordered: user, status, after
SELECT * FROM authprofile_grants WHERE user_id = 'user-1' AND profile_id >= 'p000000100' AND CAST(status AS BINARY) = 'failing' ORDER BY profile_id LIMIT 100;

-- ordered: profile, user, status, after
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND user_id = 'user-1' AND CAST(status AS BINARY) = 'failing' LIMIT 100;

-- ordered: end, after
SELECT * FROM authprofile_grants WHERE (profile_id > 'p000000100' OR profile_id = 'p000000100' AND user_id > 'user-0') AND ends + INTERVAL 0 SECOND <= '2030-01-02 03:04:05.005' ORDER BY profile_id, user_id LIMIT 100;

-- few: end, after
SELECT * FROM (SELECT p, u FROM (SELECT profile_id AS p, user_id AS u FROM authprofile_grants WHERE ends <= '2030-01-02 03:04:05.005' ORDER BY ends LIMIT 1000) AS early WHERE (p > 'p000000100' OR p = 'p000000100' AND u > 'user-0') ORDER BY p, u) AS listed STRAIGHT_JOIN authprofile_grants WHERE profile_id = p AND user_id = u ORDER BY p, u LIMIT 100;

-- ordered: profile, end, after
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND user_id > 'user-0' AND ends + INTERVAL 0 SECOND <= '2030-01-02 03:04:05.005' ORDER BY user_id LIMIT 100;

-- few: profile, end, after
SELECT * FROM (SELECT p, u FROM (SELECT profile_id AS p, user_id AS u FROM authprofile_grants WHERE ends <= '2030-01-02 03:04:05.005' ORDER BY ends LIMIT 1000) AS early WHERE p = 'p000000100' AND u > 'user-0' ORDER BY p, u) AS listed STRAIGHT_JOIN authprofile_grants WHERE profile_id = p AND user_id = u ORDER BY p, u LIMIT 100;

-- ordered: user, end, after
SELECT * FROM authprofile_grants WHERE user_id = 'user-1' AND profile_id >= 'p000000100' AND ends + INTERVAL 0 SECOND <= '2030-01-02 03:04:05.005' ORDER BY profile_id LIMIT 100;

-- ordered: profile, user, end, after
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND user_id = 'user-1' AND ends + INTERVAL 0 SECOND <= '2030-01-02 03:04:05.005' LIMIT 100;

-- ordered: status, end, after
SELECT * FROM authprofile_grants WHERE (profile_id > 'p000000100' OR profile_id = 'p000000100' AND user_id > 'user-0') AND status_key = LEFT('failing', 63) AND CAST(status AS BINARY) = 'failing' AND ends + INTERVAL 0 SECOND <= '2030-01-02 03:04:05.005' ORDER BY profile_id, user_id LIMIT 100;

-- few: status, end, after
SELECT * FROM (SELECT p, u FROM (SELECT profile_id AS p, user_id AS u FROM authprofile_grants WHERE ends <= '2030-01-02 03:04:05.005' ORDER BY ends LIMIT 1000) AS early WHERE (p > 'p000000100' OR p = 'p000000100' AND u > 'user-0') ORDER BY p, u) AS listed STRAIGHT_JOIN authprofile_grants WHERE profile_id = p AND user_id = u AND CAST(status AS BINARY) = 'failing' ORDER BY p, u LIMIT 100;

-- ordered: profile, status, end, after
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND user_id > 'user-0' AND status_key = LEFT('failing', 63) AND CAST(status AS BINARY) = 'failing' AND ends + INTERVAL 0 SECOND <= '2030-01-02 03:04:05.005' ORDER BY user_id LIMIT 100;

-- few: profile, status, end, after
SELECT * FROM (SELECT p, u FROM (SELECT profile_id AS p, user_id AS u FROM authprofile_grants WHERE ends <= '2030-01-02 03:04:05.005' ORDER BY ends LIMIT 1000) AS early WHERE p = 'p000000100' AND u > 'user-0' ORDER BY p, u) AS listed STRAIGHT_JOIN authprofile_grants WHERE profile_id = p AND user_id = u AND CAST(status AS BINARY) = 'failing' ORDER BY p, u LIMIT 100;

-- ordered: user, status, end, after
SELECT * FROM authprofile_grants WHERE user_id = 'user-1' AND profile_id >= 'p000000100' AND CAST(status AS BINARY) = 'failing' AND ends + INTERVAL 0 SECOND <= '2030-01-02 03:04:05.005' ORDER BY profile_id LIMIT 100;

-- ordered: profile, user, status, end, after
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND user_id = 'user-1' AND CAST(status AS BINARY) = 'failing' AND ends + INTERVAL 0 SECOND <= '2030-01-02 03:04:05.005' LIMIT 100;

-- ordered: due
SELECT * FROM authprofile_grants WHERE due <= '2100-01-02 03:04:05.005' ORDER BY due LIMIT 100;

-- few: due
SELECT * FROM authprofile_grants WHERE due <= '2020-01-02 03:04:05.005' ORDER BY due LIMIT 100;

-- count
SELECT status_key, COUNT(*) FROM authprofile_grants GROUP BY status_key;

-- count: profile
SELECT '', COUNT(*) FROM authprofile_grants WHERE status_key = 'failing' AND profile_id = 'p000000100';

-- count: first status
SELECT status_key, 1 FROM authprofile_grants ORDER BY status_key LIMIT 1;

-- count: next status
SELECT status_key, 1 FROM authprofile_grants WHERE status_key > 'active' ORDER BY status_key LIMIT 1;
